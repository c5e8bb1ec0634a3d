//! Where the queue is kept. Each use case is one transaction; nothing outside reads or writes rows.

mod sqlite;

pub use sqlite::{Effects, EffectsSink, SqliteStore, StoreOptions, Submission};
