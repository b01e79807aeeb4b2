use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use metrics::counter;
use sqlx::PgConnection;
use vostro_messaging::{AfterCommit, Foundation, Handler, HandlerError, Incoming, trace};

use super::on_transaction_completed;
use crate::domain::{self, Intake, Key, Numbered, Outcome, Record, Refusal, Rules, refusal_of, seal, storable};
use crate::following::{Findings, News};
use crate::store::events::NewRow;
use crate::store::head::{self, Head};
use crate::store::names::{self, Names};
use crate::store::{events, gaps};

/// Stores every event it is given, once, and has the rules look at the new ones.
pub struct Archive {
    foundation: Foundation,
    rules: Rules,
    findings: Findings,
    /// Codes of names, as they were last read; renewed after a commit only, because a rolled back code means nothing.
    names: Arc<RwLock<Arc<Names>>>,
}

impl Archive {
    pub fn new(foundation: Foundation, rules: Rules, findings: Findings) -> Self {
        Self { foundation, rules, findings, names: Arc::default() }
    }
}

#[async_trait]
impl Handler for Archive {
    async fn handle_in_tx(
        &self,
        connection: &mut PgConnection,
        batch: &[Incoming],
    ) -> Result<AfterCommit, HandlerError> {
        let foundation = &self.foundation;
        check_attributes(batch)?;
        // From here on this transaction is the only one that appends: whatever it reads stays true until it commits.
        let head = head::lock_in_tx(connection).await?;
        let names = self.names_for(connection, batch).await?;
        let keys = keys(batch, &names)?;
        let wanted: Vec<Key> = keys.iter().map(|event| event.key).collect();
        let known = events::known_in_tx(connection, &wanted, &names).await?;
        let intake = domain::sort(&keys, &known)
            .map_err(|conflict| HandlerError::Invalid { event: conflict.event, reason: conflict.to_string() })?;
        let duplicates = batch.len() - intake.fresh.len();
        if intake.fresh.is_empty() {
            return Ok(Some(Box::new(move || count_duplicates(duplicates))));
        }

        let recorded_at = in_microseconds(self.foundation.clock.now()).max(head.recorded_at);
        let mut next = store(connection, batch, &keys, &intake, &names, &head, recorded_at).await?;
        next.open_gaps += settle_gaps(connection, &keys, &intake, &head, recorded_at).await?;
        let (types, counts) = count_types(batch, &intake, &names);
        head::advance_in_tx(connection, &next, &types, &counts).await?;

        let completed = intake.first_of(&on_transaction_completed::versions(&names), &keys, &known);
        let completed: Vec<&Incoming> = completed.into_iter().map(|index| &batch[index]).collect();
        let violations = on_transaction_completed::examine_in_tx(
            connection,
            foundation,
            &self.rules,
            &names,
            &completed,
            recorded_at,
        )
        .await?;
        let (cache, findings) = (Arc::clone(&self.names), self.findings.clone());
        Ok(Some(Box::new(move || {
            *cache.write().unwrap_or_else(PoisonError::into_inner) = names;
            count_duplicates(duplicates);
            for violation in &violations {
                counter!("vostro_violations_total", "rule" => violation.rule_id.clone()).increment(1);
            }
            findings.tell_all(violations.iter().map(|violation| ((), News::found(violation))));
        })))
    }
}

impl Archive {
    /// The names with a code for everything in the batch.
    async fn names_for(&self, connection: &mut PgConnection, batch: &[Incoming]) -> sqlx::Result<Arc<Names>> {
        let cached = Arc::clone(&self.names.read().unwrap_or_else(PoisonError::into_inner));
        if missing(batch, &cached).is_none() {
            return Ok(cached);
        }
        let stored = names::load(connection).await?;
        let Some((types, streams)) = missing(batch, &stored) else { return Ok(Arc::new(stored)) };
        names::add_in_tx(connection, &types, &streams).await?;
        Ok(Arc::new(names::load(connection).await?))
    }
}

type Missing<'a> = (Vec<&'a str>, Vec<(&'a str, &'a str)>);

/// The event types and streams of the batch that have no code yet.
fn missing<'a>(batch: &'a [Incoming], names: &Names) -> Option<Missing<'a>> {
    let (mut types, mut streams) = (BTreeSet::new(), BTreeSet::new());
    for Incoming { envelope, .. } in batch {
        if names.event_type(envelope.event_type.as_str()).is_none() {
            types.insert(envelope.event_type.as_str());
        }
        if names.stream(envelope.event_type.module(), &envelope.aggregate_type).is_none() {
            streams.insert((envelope.event_type.module(), envelope.aggregate_type.as_ref()));
        }
    }
    (!types.is_empty() || !streams.is_empty()).then(|| (types.into_iter().collect(), streams.into_iter().collect()))
}

fn check_attributes(batch: &[Incoming]) -> Result<(), HandlerError> {
    for event in batch {
        let envelope = &event.envelope;
        storable(&envelope.event_type, &envelope.aggregate_type, envelope.cause.command.as_deref())
            .map_err(|reason| event.invalid(reason.to_string()))?;
    }
    Ok(())
}

fn nameless() -> HandlerError {
    HandlerError::Transient("a name has no code although it was just given one".to_owned())
}

fn keys(batch: &[Incoming], names: &Names) -> Result<Vec<Numbered>, HandlerError> {
    batch
        .iter()
        .map(|Incoming { envelope, .. }| {
            let stream = names.stream(envelope.event_type.module(), &envelope.aggregate_type).ok_or_else(nameless)?;
            let event_type = names.event_type(envelope.event_type.as_str()).ok_or_else(nameless)?;
            let key = Key { aggregate_id: envelope.aggregate_id, stream, sequence: envelope.sequence };
            Ok(Numbered { key, event_id: envelope.id, kind: names.kind(event_type) })
        })
        .collect()
}

/// Seals and stores the new events; returns where the chain then ends.
async fn store(
    connection: &mut PgConnection,
    batch: &[Incoming],
    keys: &[Numbered],
    intake: &Intake,
    names: &Names,
    head: &Head,
    recorded_at: DateTime<Utc>,
) -> Result<Head, HandlerError> {
    let fresh: Vec<(&Incoming, i16, Option<Refusal>)> = intake
        .fresh
        .iter()
        .map(|index| {
            let event = &batch[*index];
            (event, keys[*index].key.stream, refusal_of(&event.envelope.event_type, event.data.get()))
        })
        .collect();
    let mut next = Head { recorded_at, ..*head };
    let mut buffer = Vec::with_capacity(1024);
    let mut rows = Vec::with_capacity(fresh.len());
    for (event, stream, refusal) in &fresh {
        let event_type = names.event_type(event.envelope.event_type.as_str()).ok_or_else(nameless)?;
        next.position += 1;
        let record = record(event, refusal.as_ref(), next.position, recorded_at);
        next.hash = seal(&next.hash, &record, &mut buffer);
        let traceparent = trace::sampled(event.envelope.cause.traceparent.as_deref());
        rows.push(NewRow { record, event_type, stream: *stream, hash: next.hash, traceparent });
    }
    events::insert_in_tx(connection, head.position, recorded_at, &rows).await?;
    Ok(next)
}

fn record<'a>(
    event: &'a Incoming,
    refusal: Option<&'a Refusal>,
    position: i64,
    recorded_at: DateTime<Utc>,
) -> Record<'a> {
    let envelope = &event.envelope;
    let command = envelope.cause.command.as_ref().map(Cow::as_ref);
    let outcome = match (refusal, command) {
        (Some(_), _) => Outcome::Refused,
        (None, Some(_)) => Outcome::Accepted,
        (None, None) => Outcome::Event,
    };
    Record {
        position,
        event_id: envelope.id,
        event_type: envelope.event_type.as_str(),
        module: envelope.event_type.module(),
        aggregate_type: &envelope.aggregate_type,
        aggregate_id: envelope.aggregate_id,
        sequence: envelope.sequence,
        partition_key: (envelope.partition_key != envelope.aggregate_id).then_some(envelope.partition_key),
        occurred_at: in_microseconds(envelope.occurred_at),
        recorded_at,
        correlation_id: envelope.cause.correlation_id,
        causation_id: envelope.cause.causation_id,
        actor_kind: envelope.cause.actor_kind,
        actor_id: envelope.cause.actor_id,
        outcome,
        command: command.or_else(|| refusal.and_then(|refusal| refusal.command.as_deref())),
        code: refusal.and_then(|refusal| refusal.code.as_deref()),
        subject_id: refusal.and_then(|refusal| refusal.subject_id),
        data: event.data.get(),
    }
}

/// The instant as the database keeps it, so that what is hashed is what is read back.
fn in_microseconds(instant: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(instant.timestamp_micros()).unwrap_or(instant)
}

/// Closes the gaps the new events fill and opens those they leave; returns by how many more gaps are open.
async fn settle_gaps(
    connection: &mut PgConnection,
    keys: &[Numbered],
    intake: &Intake,
    head: &Head,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    let mut closed = 0;
    if head.open_gaps > 0 {
        let stored: Vec<Key> = intake.fresh.iter().map(|index| keys[*index].key).collect();
        closed = gaps::close_in_tx(connection, &stored, now).await?;
    }
    if !intake.orphans.is_empty() {
        gaps::open_in_tx(connection, &intake.orphans, now).await?;
    }
    let opened = i64::try_from(intake.orphans.len()).unwrap_or(i64::MAX);
    Ok(opened - i64::try_from(closed).unwrap_or(i64::MAX))
}

fn count_types(batch: &[Incoming], intake: &Intake, names: &Names) -> (Vec<i16>, Vec<i64>) {
    let mut counts: HashMap<i16, i64> = HashMap::new();
    for index in &intake.fresh {
        if let Some(code) = names.event_type(batch[*index].envelope.event_type.as_str()) {
            *counts.entry(code).or_default() += 1;
        }
    }
    counts.into_iter().unzip()
}

fn count_duplicates(duplicates: usize) {
    counter!("vostro_archive_duplicates_total").increment(u64::try_from(duplicates).unwrap_or(u64::MAX));
}
