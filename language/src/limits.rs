//! What a script may not exceed, so that no text can hang the compiler or fill the memory.

/// Size of a script, in bytes.
pub const SCRIPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Problems that are reported of one script; the last one says that there are more.
pub const DIAGNOSTICS_MAX: usize = 100;
/// Errors of form after which the rest of a script is not read.
pub const SYNTAX_ERRORS_MAX: usize = 2_000;
/// Problems of which a near name is looked for ("did you mean").
pub const SUGGESTIONS_MAX: usize = 20;
/// Length of a name, in characters.
pub const NAME_CHARS_MAX: usize = 256;
/// Steps that a script defines.
pub const STEPS_MAX: usize = 100_000;
/// Loops inside loops.
pub const LOOP_DEPTH_MAX: usize = 32;
/// Brackets inside brackets.
pub const BRACKET_DEPTH_MAX: usize = 32;
/// Size of an arithmetic expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 256;
/// Blanks in one level of indentation.
pub const TAB_CHARS_MAX: usize = 16;
/// Places in the chains of all calls: what one pass over every block makes in jobs.
pub const PLANNED_JOBS_MAX: usize = 1_000_000;
/// Least memory that `!memory` may give an attempt, in bytes: an interpreter needs some.
pub const MEMORY_BYTES_MIN: u64 = 16_000_000;
/// Most memory that `!memory` may give an attempt, in bytes.
pub const MEMORY_BYTES_MAX: u64 = 1 << 40;
/// Most processor time that `!cpu` may give an attempt, in seconds: 30 days.
pub const CPU_SECONDS_MAX: u64 = 30 * 86_400;
/// Most processes that `!processes` may give an attempt.
pub const PROCESSES_MAX: u32 = 10_000;
/// Names in one `!env` or `!secret`.
pub const VARIABLES_MAX: usize = 100;
/// Words in one `!requirements`.
pub const REQUIREMENTS_MAX: usize = 200;
/// Lines that an opened bracket may be followed over once another one was never closed.
pub(crate) const LINES_AFTER_UNCLOSED_MAX: usize = 30;
/// Characters of the script that a message quotes.
pub(crate) const QUOTE_CHARS_MAX: usize = 60;
