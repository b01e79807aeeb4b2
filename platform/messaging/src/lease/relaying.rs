use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use tokio_util::sync::CancellationToken;

use super::{LeaseKeeper, What};
use crate::{Publisher, Relay};

/// Runs the module's relay whenever this instance holds the lease for it, until `stop` is cancelled. Elsewhere it is
/// woken when something is committed here.
///
/// `publisher` is the relay's: an instance from which it does not reach the broker leaves the relay to the others.
pub async fn relay_whenever_held(
    keeper: LeaseKeeper,
    module: &'static str,
    relay: Relay,
    publisher: Arc<dyn Publisher>,
    stop: CancellationToken,
) {
    /// With others there the outbox may never be empty. What is not confirmed by then the next relay publishes again.
    const EMPTYING: Duration = Duration::from_secs(2);
    let work = |lease: super::Lease| {
        let (relay, keeper, wind_down) = (relay.clone(), keeper.clone(), lease.wind_down());
        async move {
            let _silence = Silence(module);
            let somebody_else_goes_on = async {
                wind_down.cancelled().await;
                if !keeper.has_company() {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(EMPTYING).await;
            };
            tokio::select! {
                () = relay.run(wind_down.clone()) => {}
                () = somebody_else_goes_on => {}
            }
        }
    };
    let is_able = || publisher.is_reachable();
    keeper.whenever_held(What::Relay, stop, is_able, work, || keeper.clone().ring_for_the_relay()).await;
}

/// What a relay measured last is not true any more when another instance has it.
struct Silence(&'static str);

impl Drop for Silence {
    fn drop(&mut self) {
        for gauge in ["vostro_relay_blocked", "vostro_outbox_rows", "vostro_outbox_oldest_age_seconds"] {
            gauge!(gauge, "module" => self.0).set(0.0);
        }
    }
}
