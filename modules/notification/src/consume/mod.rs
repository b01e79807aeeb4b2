//! What business events do here. Each event has a small function of its own that says what it means for people; the batch
//! as a whole is then written with a handful of statements.

mod on_account_created;
mod on_account_updated;
mod on_statement_ready;
mod on_transaction_completed;
mod on_transaction_failed;
mod on_user_logged_in;
mod on_user_registered;
mod on_user_updated;
mod work;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use metrics::counter;
use sqlx::PgConnection;
use tokio::sync::Notify;
use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::account::{AccountCreatedV1, AccountUpdatedV2, StatementReadyV1};
use vostro_events::auth::{UserLoggedInV1, UserRegisteredV1, UserUpdatedV1};
use vostro_events::notification::Channel;
use vostro_events::transaction::{TransactionCompletedV1, TransactionFailedV1};
use vostro_kernel::Money;
use vostro_messaging::{AfterCommit, Foundation, Handler, HandlerError, Incoming, LiveFeed};

use crate::domain::{Decision, Locale, NewNotification, decide};
use crate::publish;
use crate::store::{Table, accounts, emails, notifications, recipients};
use work::Work;

/// News for a person: up to which number there are notifications in the app. Who hears of it reads what there is behind the
/// last one it knows. One piece of news per batch, so that a listener wakes once for it.
pub(crate) type Arrived = i64;

/// The handler of the subscription `business-events`.
pub(crate) struct BusinessEvents {
    pub foundation: Foundation,
    pub default_locale: Locale,
    pub arrivals: LiveFeed<Uuid, Arrived>,
    /// Wakes the sender of e-mails.
    pub queued: Arc<Notify>,
}

#[async_trait]
impl Handler for BusinessEvents {
    async fn handle_in_tx(
        &self,
        connection: &mut PgConnection,
        batch: &[Incoming],
    ) -> Result<AfterCommit, HandlerError> {
        let mut work = meaning(batch)?;
        // First what is known about people and accounts, so that a registration and what follows it may share a batch.
        recipients::keep_in_tx(connection, Table::Live, work.contacts()).await?;
        accounts::keep_in_tx(connection, Table::Live, &work.accounts).await?;
        if work.occasions.is_empty() {
            return Ok(None);
        }
        let known = recipients::known_in_tx(connection, &work.people()).await?;
        let decisions = decide(&work.occasions, &known, self.default_locale, self.foundation.clock.now());
        let new = notifications::insert_in_tx(connection, &decisions).await?;
        self.publish_in_tx(connection, batch, &decisions, &new).await
    }
}

impl BusinessEvents {
    /// Queues and publishes what is new. A decision that was made before is a repeated event and leads to nothing.
    async fn publish_in_tx(
        &self,
        connection: &mut PgConnection,
        batch: &[Incoming],
        decisions: &[NewNotification<'_>],
        new: &HashMap<Uuid, i64>,
    ) -> Result<AfterCommit, HandlerError> {
        let mut events = Vec::with_capacity(decisions.len());
        let mut arrived = Vec::with_capacity(decisions.len());
        let (mut mails, mut suppressed) = (Vec::new(), 0);
        for decision in decisions {
            let Some(sequence) = new.get(&decision.id) else { continue };
            let cause = Cause::event(&batch[decision.occasion.source_index].envelope);
            match decision.decision {
                Decision::Store => {
                    arrived.push((decision.occasion.user_id, *sequence));
                    events.push(publish::stored(self.foundation.ids.as_ref(), decision, cause));
                }
                Decision::Queue => mails.push((decision, cause)),
                Decision::Suppress(_) => suppressed += 1,
            }
        }
        emails::queue_in_tx(connection, &mails).await?;
        self.foundation.outbox.append_in_tx(connection, events).await?;

        let (feed, queued) = (self.arrivals.clone(), (!mails.is_empty()).then(|| Arc::clone(&self.queued)));
        let mailed = mails.len();
        Ok(Some(Box::new(move || {
            count(Channel::InApp, "stored", arrived.len());
            count(Channel::Email, "queued", mailed);
            counter!("vostro_notifications_suppressed_total").increment(suppressed);
            if feed.has_listeners() && !arrived.is_empty() {
                // In order: of several of a person the last is the highest.
                feed.tell_all(arrived.into_iter().collect::<HashMap<Uuid, Arrived>>());
            }
            if let Some(queued) = queued {
                queued.notify_one();
            }
        })))
    }
}

/// Takes what events say about people beside the contacts that are known, and leaves aside what people would be told.
pub(crate) async fn rebuild_recipients_in_tx(
    connection: &mut PgConnection,
    events: &[Incoming],
) -> Result<(), HandlerError> {
    recipients::keep_in_tx(connection, Table::Rebuilt, meaning(events)?.contacts()).await?;
    Ok(())
}

/// The same for how accounts are named.
pub(crate) async fn rebuild_accounts_in_tx(
    connection: &mut PgConnection,
    events: &[Incoming],
) -> Result<(), HandlerError> {
    accounts::keep_in_tx(connection, Table::Rebuilt, &meaning(events)?.accounts).await?;
    Ok(())
}

/// What a batch means for people, before anything is written.
fn meaning(events: &[Incoming]) -> Result<Work, HandlerError> {
    let mut work = Work::default();
    for (index, event) in events.iter().enumerate() {
        note(event, index, &mut work)?;
    }
    Ok(work)
}

/// Hands an event to the function of its type.
fn note(event: &Incoming, index: usize, work: &mut Work) -> Result<(), HandlerError> {
    match event.envelope.event_type.as_str() {
        UserRegisteredV1::TYPE => on_user_registered::note(event, index, work),
        UserLoggedInV1::TYPE => on_user_logged_in::note(event, index, work),
        UserUpdatedV1::TYPE => on_user_updated::note(event, work),
        AccountCreatedV1::TYPE => on_account_created::note(event, index, work),
        AccountUpdatedV2::TYPE => on_account_updated::note(event, index, work),
        StatementReadyV1::TYPE => on_statement_ready::note(event, index, work),
        TransactionCompletedV1::TYPE => on_transaction_completed::note(event, index, work),
        TransactionFailedV1::TYPE => on_transaction_failed::note(event, index, work),
        other => Err(event.invalid(format!("nobody is told about {other}"))),
    }
}

/// An amount somebody can be told they paid or received.
fn positive(event: &Incoming, amount: Money) -> Result<Money, HandlerError> {
    if amount.is_positive() {
        return Ok(amount);
    }
    Err(event.invalid(format!("the amount {amount} is not positive")))
}

fn count(channel: Channel, outcome: &'static str, number: usize) {
    if number > 0 {
        counter!("vostro_notifications_total", "channel" => channel.as_str(), "outcome" => outcome)
            .increment(u64::try_from(number).unwrap_or(u64::MAX));
    }
}
