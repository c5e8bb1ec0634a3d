//! Any bytes give a plan or errors with places inside the text.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::compiles(bytes));
