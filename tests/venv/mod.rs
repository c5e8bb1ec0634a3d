//! The virtual environment that `scripts/test` makes: a Python with pandas, polars and pyarrow.

use std::path::Path;

/// Its interpreter.
pub fn python() -> String {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-venv");
    let folder = std::env::var("BUE_TEST_VENV").unwrap_or_else(|_| own.to_owned());
    let python = format!("{folder}/bin/python");
    assert!(
        Path::new(&python).is_file(),
        "{python} is missing: scripts/test makes it, BUE_TEST_VENV names another one"
    );
    python
}
