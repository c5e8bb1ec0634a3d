//! Runs one SQL step, as `bue sql-step` does, or launches a program in a cell: what this crate's own tests start.

fn main() -> std::process::ExitCode {
    sandbox::launch(std::env::args_os().skip(1))
        .unwrap_or_else(|| bue_worker::sql_step_main(std::env::args_os().skip(2)))
}
