use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Lease, LeaseKeeper, What};
use crate::{Broker, Consumer, DeadLetterDrain, Handler, Intake};

/// Consumes a subscription's queues, each whenever this instance holds the lease for it, until `stop` is cancelled.
/// Whoever has the first of them also drains the subscription's dead letters, of which there is one queue.
pub async fn consume_whenever_held(
    keeper: LeaseKeeper,
    queues: Vec<String>,
    intake: Arc<Intake>,
    handler: Arc<dyn Handler>,
    broker: Arc<dyn Broker>,
    stop: CancellationToken,
) {
    let consuming = queues.into_iter().enumerate().map(|(partition, queue)| {
        let (keeper, stop) = (&keeper, stop.clone());
        let (intake, handler, broker) = (&intake, &handler, &broker);
        let work = {
            let queue = queue.clone();
            move |lease: Lease| {
                let (fence, wind_down) = (lease.fence(), lease.wind_down());
                let consumer = Consumer::new(Arc::clone(intake), Arc::clone(handler), Arc::clone(broker));
                let consumer = consumer.on(&queue, fence.clone());
                let drain = DeadLetterDrain::new(Arc::clone(intake), Arc::clone(broker)).under(fence);
                async move {
                    let draining = async {
                        if partition == 0 {
                            drain.run(wind_down.clone()).await;
                        }
                        std::future::pending().await
                    };
                    tokio::select! {
                        () = consumer.run(wind_down.clone()) => {}
                        () = draining => {}
                    }
                }
            }
        };
        async move {
            let is_able = || broker.is_reachable();
            keeper.whenever_held(What::Queue(queue), stop, is_able, work, std::future::pending).await;
        }
    });
    futures::future::join_all(consuming).await;
}
