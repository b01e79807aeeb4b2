use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use metrics::counter;
use sqlx::PgConnection;
use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::transaction::TransactionInitiatedV1;
use vostro_kernel::RefusalCode;
use vostro_messaging::{AfterCommit, Handler, HandlerError, Incoming, NewEvent, UpdateKind};

use crate::domain::{Booking, Decision, LedgerState, PostingRequest, decide};
use crate::facade::{BalanceChange, Inner};
use crate::publish::Publisher;
use crate::store::postings::{self, Journal};

/// Books accepted transfers: a batch of them in one transaction and a fixed number of statements.
pub(crate) struct Postings {
    inner: Arc<Inner>,
}

impl Postings {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }
}

#[async_trait]
impl Handler for Postings {
    async fn handle_in_tx(
        &self,
        connection: &mut PgConnection,
        batch: &[Incoming],
    ) -> Result<AfterCommit, HandlerError> {
        let foundation = &self.inner.foundation;
        let mut requests = batch.iter().map(read).collect::<Result<Vec<_>, _>>()?;

        let mut accounts: Vec<Uuid> = requests.iter().flat_map(|it| [it.source, it.destination]).collect();
        accounts.sort_unstable();
        accounts.dedup();
        let (mut state, changed_at) = postings::lock_in_tx(connection, &accounts).await?;
        // Read only now: the locks may have been waited for, past midnight too.
        let publisher = self.inner.publisher().booking_after(changed_at);

        let mut fresh = postings::claim_in_tx(connection, &requests, publisher.now).await?;
        let mut causes: Vec<&Incoming> = batch.iter().collect();
        if fresh.len() < requests.len() {
            let duplicates: Vec<_>;
            ((causes, requests), duplicates) = split(batch, requests, |id| fresh.remove(&id));
            refuse_other_terms_in_tx(connection, &duplicates).await?;
            counter!("vostro_postings_total", "outcome" => "duplicate").increment(count(duplicates.len()));
        }
        if requests.is_empty() {
            return Ok(None);
        }

        let mut batch = Batch::new(&publisher, requests.len());
        for (request, cause) in requests.iter().zip(causes) {
            batch.decide(&mut state, request, Cause::event(&cause.envelope));
        }
        let Batch { journal, events, changes, outcomes, .. } = batch;
        let changing = self.inner.seen.changing(changes.iter().map(|change| change.account_id).collect());
        postings::write_in_tx(connection, &journal, &state, publisher.now, publisher.now.date_naive()).await?;
        foundation.outbox.append_in_tx(connection, events).await?;

        let inner = Arc::clone(&self.inner);
        Ok(Some(Box::new(move || {
            for (code, number) in outcomes {
                let outcome = if code.is_empty() { "applied" } else { "rejected" };
                counter!("vostro_postings_total", "outcome" => outcome, "code" => code).increment(number);
            }
            // Asked only now: whoever began to listen before the commit may have read the balances of before it.
            inner.changes.tell_all(changes.into_iter().map(|change| (change.account_id, change)));
            drop(changing);
        })))
    }
}

/// What a batch has decided so far.
struct Batch<'a> {
    publisher: &'a Publisher<'a>,
    journal: Journal,
    events: Vec<NewEvent>,
    changes: Vec<BalanceChange>,
    /// How many transfers ended how: the refusal's code, or nothing.
    outcomes: HashMap<&'static str, u64>,
}

impl<'a> Batch<'a> {
    fn new(publisher: &'a Publisher<'a>, requests: usize) -> Self {
        Self {
            publisher,
            journal: Journal::default(),
            events: Vec::with_capacity(requests * 3),
            changes: Vec::with_capacity(requests * 2),
            outcomes: HashMap::new(),
        }
    }

    fn decide(&mut self, state: &mut LedgerState, request: &PostingRequest, cause: Cause) {
        match decide(state, request) {
            Decision::Applied { debit, credit } => {
                *self.outcomes.entry("").or_default() += 1;
                let bookings = [debit, credit];
                self.events.push(self.publisher.posting_applied(cause.clone(), request, &bookings));
                for booking in &bookings {
                    self.book(request, booking, cause.clone());
                }
            }
            Decision::Rejected(refusal) => {
                *self.outcomes.entry(refusal.code()).or_default() += 1;
                self.journal.reject(request.transaction_id, refusal.code());
                self.events.push(self.publisher.posting_rejected(cause, request.transaction_id, refusal));
            }
        }
    }

    fn book(&mut self, request: &PostingRequest, booking: &Booking, cause: Cause) {
        let (transaction_id, currency) = (request.transaction_id, request.amount.currency);
        self.journal.enter(transaction_id, booking.account_id, currency, booking.amount, &booking.after);
        self.events.push(self.publisher.balance_changed(cause, transaction_id, currency, booking));
        self.changes.push(BalanceChange {
            account_id: booking.account_id,
            currency,
            balance: booking.after,
            transaction_id: Some(transaction_id),
            occurred_at: self.publisher.now,
            kind: UpdateKind::Change,
        });
    }
}

fn read(incoming: &Incoming) -> Result<PostingRequest, HandlerError> {
    let event: TransactionInitiatedV1 = incoming.decode()?;
    if event.transaction_id != incoming.envelope.aggregate_id {
        return Err(incoming.invalid("the data is about another transaction than the envelope"));
    }
    Ok(PostingRequest {
        transaction_id: event.transaction_id,
        source: event.route.source_account_id,
        destination: event.route.destination_account_id,
        amount: event.amount,
    })
}

type Split<'a> = ((Vec<&'a Incoming>, Vec<PostingRequest>), Vec<(&'a Incoming, PostingRequest)>);

/// Takes apart what is to be decided, each transaction once, and what is a repetition.
fn split(batch: &[Incoming], requests: Vec<PostingRequest>, mut is_fresh: impl FnMut(Uuid) -> bool) -> Split<'_> {
    let mut fresh = (Vec::new(), Vec::new());
    let mut duplicates = Vec::new();
    for (incoming, request) in batch.iter().zip(requests) {
        if is_fresh(request.transaction_id) {
            fresh.0.push(incoming);
            fresh.1.push(request);
        } else {
            duplicates.push((incoming, request));
        }
    }
    (fresh, duplicates)
}

/// A repetition says the same as the first time; anything else is an error of the sender that somebody has to look at.
async fn refuse_other_terms_in_tx(
    connection: &mut PgConnection,
    duplicates: &[(&Incoming, PostingRequest)],
) -> Result<(), HandlerError> {
    let ids: Vec<Uuid> = duplicates.iter().map(|(_, request)| request.transaction_id).collect();
    let decided = postings::decided_in_tx(connection, &ids).await?;
    let decided: HashMap<Uuid, PostingRequest> =
        decided.into_iter().map(|terms| (terms.transaction_id, terms)).collect();
    match duplicates.iter().find(|(_, request)| decided.get(&request.transaction_id) != Some(request)) {
        Some((incoming, _)) => Err(incoming.invalid("the transaction was decided before on other terms")),
        None => Ok(()),
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
