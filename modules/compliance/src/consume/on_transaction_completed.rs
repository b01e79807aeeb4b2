use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use metrics::counter;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use tracing::error;
use uuid::Uuid;
use vostro_events::account::BalanceChangedV1;
use vostro_events::transaction::TransactionCompletedV1;
use vostro_events::{DomainEvent, Envelope, NotUpcast, read_data};
use vostro_messaging::{Foundation, HandlerError, Incoming};

use crate::domain::{Finding, Payment, Rules};
use crate::publish;
use crate::store::names::Names;
use crate::store::violations::{self, Violation};
use crate::store::{events, velocities};

/// How many transactions a violation names as evidence at most.
const MOST_EVIDENCE: usize = 20;
/// How many of an account's newest ledger events are looked through for them.
const LEDGER_EVENTS: i64 = 100;

/// What a rule found, and the event with which it did.
type Found<'a> = (Finding, &'a Envelope);

/// The codes of the versions in which the rules can read of a completed payment.
pub fn versions(names: &Names) -> Vec<i16> {
    names.versions_up_to(TransactionCompletedV1::TYPE)
}

/// Has the rules look at completed payments that were not seen before, and returns what they found. `now` never goes
/// back from one transaction of the archive to the next, whichever instance it is.
pub async fn examine_in_tx(
    connection: &mut PgConnection,
    foundation: &Foundation,
    rules: &Rules,
    names: &Names,
    completed: &[&Incoming],
    now: DateTime<Utc>,
) -> Result<Vec<Violation>, HandlerError> {
    let payments: Vec<(Payment, &Envelope)> = completed.iter().filter_map(|event| payment(event)).collect();
    if payments.is_empty() {
        return Ok(Vec::new());
    }
    let accounts: HashSet<Uuid> = payments.iter().filter_map(|(payment, _)| payment.source).collect();
    let accounts: Vec<Uuid> = accounts.into_iter().collect();
    let mut velocities = match accounts.as_slice() {
        [] => HashMap::new(),
        accounts => velocities::load_in_tx(connection, accounts).await?,
    };
    let mut found: Vec<Found<'_>> = Vec::new();
    for (payment, envelope) in &payments {
        // The bank's own accounts are not followed; the rules leave their velocity alone.
        let findings = match payment.source {
            Some(account) => rules.examine(payment, velocities.entry(account).or_default()),
            None => rules.examine(payment, &mut Default::default()),
        };
        found.extend(findings.into_iter().map(|finding| (finding, *envelope)));
    }
    if !velocities.is_empty() {
        velocities::save_in_tx(connection, &velocities).await?;
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    report_in_tx(connection, foundation, names, found, now).await
}

/// The payment an event tells of. One that cannot be read is stored all the same; only the rules cannot look at it.
fn payment<'a>(event: &&'a Incoming) -> Option<(Payment, &'a Envelope)> {
    let Incoming { envelope, data } = *event;
    match read::<TransactionCompletedV1>(envelope.event_type.as_str(), data, TransactionCompletedV1::TYPE) {
        Ok(completed) => Some((Payment::from(&completed), &event.envelope)),
        Err(reason) => {
            error!(event = %event.envelope.id, %reason, "the rules cannot read a completed payment; it is stored");
            counter!("vostro_rules_unreadable_total").increment(1);
            None
        }
    }
}

/// Stores and publishes what was not found before.
async fn report_in_tx(
    connection: &mut PgConnection,
    foundation: &Foundation,
    names: &Names,
    mut found: Vec<Found<'_>>,
    now: DateTime<Utc>,
) -> Result<Vec<Violation>, HandlerError> {
    let dedupe_keys: Vec<String> = found.iter().map(|(finding, _)| finding.dedupe_key.clone()).collect();
    let mut known = violations::known_in_tx(connection, &dedupe_keys).await?;
    found.retain(|(finding, _)| known.insert(finding.dedupe_key.clone()));
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let evidence = evidence_in_tx(connection, names, &found).await?;
    let (mut rows, mut news) = (Vec::new(), Vec::new());
    for ((finding, trigger), transaction_ids) in found.into_iter().zip(evidence) {
        let violation = Violation {
            violation_id: foundation.ids.next(),
            rule_id: finding.rule_id.to_owned(),
            rule_version: finding.rule_version,
            severity: finding.severity.as_str().to_owned(),
            subject_id: finding.subject_id,
            transaction_ids,
            score: finding.score,
            threshold: finding.threshold,
            explanation: finding.explanation,
            detected_at: now,
        };
        news.push(publish::violation_detected(foundation.ids.next(), &violation, finding.severity, trigger));
        rows.push((finding.dedupe_key, violation));
    }
    violations::insert_in_tx(connection, &rows).await?;
    foundation.outbox.append_in_tx(connection, news).await?;
    Ok(rows.into_iter().map(|(_, violation)| violation).collect())
}

/// The transactions each finding rests on, the triggering one last. Those before it are read from the ledger's own events
/// of the account, which are stored already: nothing has to be remembered for the case that a rule finds something.
async fn evidence_in_tx(
    connection: &mut PgConnection,
    names: &Names,
    found: &[Found<'_>],
) -> sqlx::Result<Vec<Vec<Uuid>>> {
    let ledger = names.stream("account", BalanceChangedV1::AGGREGATE);
    let accounts: HashSet<Uuid> =
        found.iter().filter(|(finding, _)| finding.window.is_some()).map(|(finding, _)| finding.subject_id).collect();
    let accounts: Vec<Uuid> = accounts.into_iter().collect();
    let versions = names.versions_up_to(BalanceChangedV1::TYPE);
    let rows = match (ledger, accounts.as_slice()) {
        (Some(ledger), [_, ..]) => {
            events::newest_in_tx(connection, ledger, &versions, &accounts, LEDGER_EVENTS).await?
        }
        _ => Vec::new(),
    };
    let debits: Vec<(Uuid, i64, Uuid)> = rows
        .into_iter()
        .filter_map(|row| {
            let data = RawValue::from_string(row.data).ok()?;
            let event: BalanceChangedV1 =
                read(names.event_type_of(row.event_type)?, &data, BalanceChangedV1::TYPE).ok()?;
            (event.delta_minor < 0).then_some((row.aggregate_id, minute(row.occurred_at), event.transaction_id))
        })
        .collect();
    Ok(found.iter().map(|(finding, _)| evidence_of(finding, &debits)).collect())
}

/// What was written in one version of an event, as this or a later one.
fn read<E: DomainEvent>(written: &str, data: &RawValue, wanted: &'static str) -> Result<E, NotUpcast> {
    let data = read_data(written, data, wanted)?;
    serde_json::from_str(data.get()).map_err(|error| NotUpcast::new(wanted, error.to_string()))
}

fn minute<Tz: chrono::TimeZone>(at: DateTime<Tz>) -> i64 {
    at.timestamp().div_euclid(60)
}

/// `debits` are account, minute and transaction, the newest first.
fn evidence_of(finding: &Finding, debits: &[(Uuid, i64, Uuid)]) -> Vec<Uuid> {
    let mut evidence: Vec<Uuid> = finding
        .window
        .map(|window| {
            debits
                .iter()
                .filter(|(account, minute, transaction)| {
                    *account == finding.subject_id
                        && (window.from_minute..=window.until_minute).contains(minute)
                        && *transaction != finding.transaction_id
                })
                .map(|(_, _, transaction)| *transaction)
                .take(MOST_EVIDENCE - 1)
                .collect()
        })
        .unwrap_or_default();
    evidence.reverse();
    evidence.push(finding.transaction_id);
    evidence
}
