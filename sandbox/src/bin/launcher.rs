//! The launcher alone, as `bue sandbox-launcher` is: what this crate's own tests start.

fn main() -> std::process::ExitCode {
    bue_sandbox::launch(std::env::args_os().skip(1)).unwrap_or(std::process::ExitCode::FAILURE)
}
