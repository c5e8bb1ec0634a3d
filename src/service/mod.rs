//! What hub, bucket and worker share as processes: sockets, signals, logs, the way to the bucket.

pub mod keys;
pub mod listen;
pub mod log;
pub mod sandbox;
pub mod stop;
pub mod text;
pub mod token;
