//! The launcher alone, as `bue sandbox-launcher` is, and a warm program: what this crate's own tests start.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == bue_sandbox::WARM_WORD) {
        return serve();
    }
    bue_sandbox::launch(std::env::args_os().skip(1)).unwrap_or(ExitCode::FAILURE)
}

/// Each fork answers with what it was told and where it is, or waits to be ended.
fn serve() -> ExitCode {
    match bue_sandbox::serve_forks(false, || eprintln!("early")) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(fork)) => {
            let told = fork.told.clone().map(|told| String::from_utf8_lossy(&told).into_owned());
            while told.as_deref() == Ok("wait") {
                std::thread::park();
            }
            println!("in the log");
            let folder = std::env::current_dir().unwrap_or_default();
            let names: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
            fork.answer(format!("{told:?} {} {names:?}", folder.display()).as_bytes())
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
