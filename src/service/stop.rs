//! Stopping: Ctrl-C and SIGTERM ask for a clean end, a second one ends at once.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::output;

/// Exit code of a service that was told twice to end: 128 and the number of SIGINT.
const IMPATIENT: i32 = 130;

/// What comes so soon after the first signal is that signal again: `timeout` and some shells send it to a process and to its group.
const ECHO: Duration = Duration::from_millis(100);

/// A token that is cancelled by the first Ctrl-C or SIGTERM.
pub fn on_signal() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut signals = Signals::listen()?;
    let token = stop.clone();
    tokio::spawn(async move {
        signals.next().await;
        token.cancel();
        let echoes = async {
            loop {
                signals.next().await;
            }
        };
        let _ = tokio::time::timeout(ECHO, echoes).await;
        signals.next().await;
        output::note("told twice to stop: not waiting any longer");
        std::process::exit(IMPATIENT);
    });
    Ok(stop)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let listen =
            |kind| signal(kind).map_err(|error| Error::machine(format_args!("cannot listen for signals: {error}")));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
