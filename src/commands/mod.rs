//! One file for each command.

pub mod again;
pub mod bucket;
pub mod cancel;
pub mod check;
pub mod demo;
pub mod example;
pub mod explain;
mod explain_run;
pub mod fmt;
pub mod hub;
pub mod logs;
pub mod lsp;
pub mod pause;
pub mod pin;
pub mod plan;
pub mod query;
pub mod reset;
pub mod results;
pub mod run;
pub mod secret;
pub mod status;
pub mod upload;
pub mod value;
pub mod worker;
