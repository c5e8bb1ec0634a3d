//! Settings: what the environment and `.env` say, read by name and checked where they are read.
//!
//! - [`table`]: every setting with its name, flag, default and meaning; `docs/settings.md` shows the same table.
//! - [`source`]: where a value comes from. Flags beat the environment, the environment beats `.env` of the current folder.
//! - [`value`]: how a text becomes a number, a time, a list.
//! - [`limits`]: the bounds of hub, worker, bucket and bundle.
//! - [`places`]: where services listen and where clients find them.
//! - [`unknown`]: names in `.env` that are no settings.

pub mod engines;
pub mod limits;
pub mod places;
pub mod source;
pub mod table;
pub mod unknown;
pub mod value;

pub use source::{SettingError, Sources};
