//! The corpus of the fuzz targets, replayed: the scripts of the tests, and what fuzzing has found.

mod corpus;

#[path = "../fuzz/checks.rs"]
mod checks;

/// Inputs that are replayed at most, and the most of each that is taken.
const INPUTS_MAX: usize = 5_000;
const INPUT_BYTES_MAX: usize = 64 * 1024;

#[test]
fn every_input_of_the_corpus_holds_what_is_promised() {
    let mut inputs = corpus::scripts();
    let own = inputs.len();
    inputs.extend(corpus::found());
    assert!(own > 200 && inputs.len() > own, "{own} of {}", inputs.len());
    for mut input in inputs.into_iter().take(INPUTS_MAX) {
        input.truncate(INPUT_BYTES_MAX);
        checks::compiles(&input);
        checks::formats(&input);
    }
}
