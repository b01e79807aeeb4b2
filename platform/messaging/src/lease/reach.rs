use tokio::time::Instant;
use tracing::warn;

use super::LeaseKeeper;

/// Completes when the broker has been out of this instance's reach for as long as a lease lasts while there are others,
/// who may reach it. Alone, an instance waits as long as it takes.
pub(super) async fn out_of_reach(keeper: &LeaseKeeper, what: &str, is_reachable: impl Fn() -> bool) {
    let times = keeper.times();
    let mut since = None;
    loop {
        tokio::time::sleep(times.renew).await;
        if is_reachable() || !keeper.has_company() {
            since = None;
        } else if since.get_or_insert_with(Instant::now).elapsed() >= times.expire {
            warn!(what, "the broker is out of reach; giving the lease to another instance");
            return;
        }
    }
}
