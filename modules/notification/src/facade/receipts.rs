use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::warn;
use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::notification::Channel;
use vostro_messaging::{Foundation, GroupCommit};

use crate::domain::Status;
use crate::publish;
use crate::store::{Stored, notifications};

/// Marks what clients receive as delivered. Clients that fetch at the same time share a transaction.
pub(super) struct Receipts(GroupCommit<Receipt, Option<DateTime<Utc>>>);

struct Receipt {
    user: Uuid,
    notifications: Vec<Uuid>,
    cause: Cause,
}

impl Receipts {
    /// Receipts in one transaction at most.
    const MOST: usize = 256;

    pub fn new(foundation: Foundation) -> Self {
        let foundation = Arc::new(foundation);
        Self(GroupCommit::spawn(1, Self::MOST, Duration::ZERO, move |receipts: Vec<Receipt>| {
            let foundation = Arc::clone(&foundation);
            async move {
                let at = match commit(&foundation, &receipts).await {
                    Ok(at) => Some(at),
                    Err(error) => {
                        warn!(%error, "what clients received cannot be marked as delivered now");
                        None
                    }
                };
                vec![at; receipts.len()]
            }
        }))
    }

    /// Marks the in-app notifications among `fetched` as delivered to the client behind `cause`, in the database and in
    /// `fetched`. A failure is only logged: being shown matters more than being counted, and the next fetch marks them.
    pub async fn mark(&self, user: Uuid, cause: Cause, fetched: &mut [Stored]) {
        let mut new = fetched
            .iter_mut()
            .filter(|stored| stored.channel == Channel::InApp && stored.status == Status::Sent)
            .collect::<Vec<_>>();
        if new.is_empty() {
            return;
        }
        let notifications = new.iter().map(|stored| stored.id).collect();
        if let Ok(Some(at)) = self.0.submit(Receipt { user, notifications, cause }).await {
            for stored in &mut new {
                stored.status = Status::Delivered;
                stored.delivered_at = Some(at);
            }
        }
    }
}

async fn commit(foundation: &Foundation, receipts: &[Receipt]) -> sqlx::Result<DateTime<Utc>> {
    let now = foundation.clock.now();
    // Two clients of a person may have fetched the same: the first receipt counts.
    let mut of: HashMap<Uuid, &Receipt> = HashMap::new();
    for receipt in receipts {
        for notification in &receipt.notifications {
            of.entry(*notification).or_insert(receipt);
        }
    }
    let ids = of.keys().copied().collect::<Vec<_>>();
    let mut transaction = foundation.begin().await?;
    let delivered = notifications::deliver_in_tx(&mut transaction, &ids, now).await?;
    let events = delivered.into_iter().filter_map(|id| {
        let receipt = of.get(&id)?;
        let (ids, cause) = (foundation.ids.as_ref(), receipt.cause.clone());
        Some(publish::delivered(ids, id, receipt.user, Channel::InApp, publish::CLIENT, cause, now))
    });
    let events = events.collect();
    foundation.outbox.append_in_tx(&mut transaction, events).await?;
    transaction.commit().await?;
    foundation.outbox.committed();
    Ok(now)
}
