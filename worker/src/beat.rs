//! Tells the hub again and again that this worker lives and which leases it holds.

use std::sync::Arc;
use std::time::Duration;

use protocol::api::BeatRequest;

use crate::control::Shared;
use crate::hub::Hub;

/// Shortest time between two beats, whatever the hub asks for.
const BEAT_MIN: Duration = Duration::from_millis(50);

/// Beats for all leases at once, until it is dropped. A hub that is away is asked again at the same pace.
pub(crate) async fn run<H: Hub>(shared: Arc<Shared<H>>) {
    let mut interval = shared.config.limits.beat;
    loop {
        tokio::time::sleep(interval).await;
        let request = BeatRequest { session: shared.session, held: shared.held.list(), info: shared.info() };
        match shared.hub.beat(request).await {
            Ok(answer) => {
                shared.hub_outage.worked();
                shared.held.revoke(&answer.revoked);
                interval = Duration::from_millis(answer.beat_ms).max(BEAT_MIN).min(shared.config.limits.beat);
            }
            Err(error) => shared.hub_outage.failed(&error),
        }
    }
}
