//! A text that can be formatted keeps its meaning and its comments, and is then in its form.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::formats(bytes));
