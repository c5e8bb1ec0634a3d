//! Runs one SQL step, as `bue sql-step` does: what this crate's own tests start.

fn main() -> std::process::ExitCode {
    bue_worker::sql_step_main()
}
