//! Accepting commands in groups: one transaction and a constant number of statements for up to two hundred commands.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use metrics::{counter, histogram};
use uuid::Uuid;
use vostro_events::Cause;
use vostro_kernel::{Refusal, RefusalCode as _, RequestContext};
use vostro_messaging::{NewEvent, trace};

use super::Shared;
use crate::domain::{
    Claim, Draft, Earlier, Instruction, KeyScope, Status, Transaction, Verdict, admit, decide_initiate, first_accepted,
    needs_lookup, verdicts,
};
use crate::error::{TransactionError, TransactionErrorCode as Code};
use crate::publish;
use crate::store::accounts::views_in_tx;
use crate::store::transactions::{NewTransaction, Stored, by_keys_in_tx, insert_in_tx};

/// A command on its way into a group.
pub(crate) struct Pending {
    pub context: RequestContext,
    pub instruction: Instruction,
    pub fingerprint: [u8; 32],
    /// The id the transaction gets if the command is accepted and new.
    pub id: Uuid,
}

/// What became of an accepted command.
#[derive(Clone)]
pub(crate) enum Answer {
    Accepted(Arc<Transaction>),
    /// The transaction of the first command with this key, in its present state.
    Replayed(Arc<Transaction>),
}

type Answers = Vec<Result<Answer, TransactionError>>;

/// How often a group is tried when it loses a race inside the database.
const ATTEMPTS: u32 = 3;

/// Commits a group and answers each command, in order.
pub(crate) async fn accept(shared: &Shared, group: Vec<Pending>) -> Answers {
    histogram!("vostro_group_commit_commands", "module" => "transaction").record(f64_of(group.len()));
    let mut attempt = 1;
    loop {
        match try_accept(shared, &group).await {
            Ok(answers) => {
                count(&group, &answers);
                return answers;
            }
            Err(error) if attempt < ATTEMPTS && lost_a_race(&error) => attempt += 1,
            Err(error) => {
                tracing::error!(%error, commands = group.len(), "a group of commands was not committed");
                let error = TransactionError::from(error);
                return group.iter().map(|_| Err(error.clone())).collect();
            }
        }
    }
}

async fn try_accept(shared: &Shared, group: &[Pending]) -> sqlx::Result<Answers> {
    let foundation = &shared.foundation;
    let mut tx = foundation.begin().await?;
    let accounts = views_in_tx(&mut tx, &accounts_of(group)).await?;
    let now = foundation.clock.now();
    let decisions = group.iter().map(|pending| decide(pending, &accounts, now)).collect::<Vec<_>>();
    let claims = group.iter().zip(&decisions).map(|(pending, decision)| claim(pending, decision)).collect::<Vec<_>>();

    let candidates = first_accepted(&claims);
    let inserted = insert_in_tx(&mut tx, new_rows(group, &decisions, &candidates)).await?;
    let inserted: HashSet<usize> = candidates.into_iter().filter(|at| inserted.contains(&group[*at].id)).collect();
    let stored = by_keys_in_tx(&mut tx, needs_lookup(&claims, &inserted)).await?;
    let find = |scope: KeyScope<'_>| stored.get(&(scope.initiator, scope.key.to_owned()));
    let verdicts = verdicts(&claims, &inserted, |scope| find(scope)?.fingerprint.as_slice().try_into().ok());

    let answers = answer(group, decisions, &claims, &verdicts, find)?;
    foundation.outbox.append_in_tx(&mut tx, events(shared, group, &answers, now)).await?;
    tx.commit().await?;
    for answer in &answers {
        if let Ok(Answer::Accepted(transaction)) = answer {
            shared.announce(Arc::clone(transaction));
        }
    }
    foundation.outbox.committed();
    Ok(answers)
}

/// What the rules say to a command whose key is new.
struct Decision {
    /// In whose name the key counts; `None` when the command was refused before that.
    initiator: Option<Uuid>,
    outcome: Result<Arc<Transaction>, Refusal<Code>>,
}

fn decide(pending: &Pending, accounts: &HashMap<Uuid, crate::domain::AccountView>, now: DateTime<Utc>) -> Decision {
    let (instruction, actor) = (&pending.instruction, &pending.context.actor);
    match admit(instruction, actor) {
        Err(refusal) => Decision { initiator: None, outcome: Err(refusal) },
        Ok(initiator) => {
            let draft = decide_initiate(instruction, actor, accounts);
            let outcome = draft.map(|draft| Arc::new(transaction(pending, initiator, draft, now)));
            Decision { initiator: Some(initiator), outcome }
        }
    }
}

fn transaction(pending: &Pending, initiator_id: Uuid, draft: Draft, now: DateTime<Utc>) -> Transaction {
    let instruction = &pending.instruction;
    Transaction {
        id: pending.id,
        initiator_id,
        kind: instruction.command.kind(),
        status: Status::Initiated,
        amount: draft.amount,
        source_account_id: instruction.source_account_id,
        destination_account_id: instruction.destination_account_id,
        source_owner_id: draft.source_owner_id,
        destination_owner_id: draft.destination_owner_id,
        reference: instruction.reference.clone(),
        channel: instruction.channel,
        failure_code: None,
        initiated_at: now,
        completed_at: None,
    }
}

fn claim<'a>(pending: &'a Pending, decision: &Decision) -> Claim<'a> {
    let scope = |initiator| KeyScope { initiator, key: &pending.instruction.idempotency_key };
    Claim {
        scope: decision.initiator.map(scope),
        fingerprint: pending.fingerprint,
        acceptable: decision.outcome.is_ok(),
    }
}

fn new_rows<'a>(group: &'a [Pending], decisions: &'a [Decision], candidates: &[usize]) -> Vec<NewTransaction<'a>> {
    let row = |at: &usize| {
        let (pending, transaction) = (&group[*at], decisions[*at].outcome.as_ref().ok()?);
        let idempotency_key = pending.instruction.idempotency_key.as_str();
        let traceparent = trace::sampled(pending.context.traceparent.as_deref());
        Some(NewTransaction { transaction, idempotency_key, fingerprint: pending.fingerprint, traceparent })
    };
    candidates.iter().filter_map(row).collect()
}

/// Turns verdicts into answers.
fn answer<'a>(
    group: &[Pending],
    decisions: Vec<Decision>,
    claims: &[Claim<'a>],
    verdicts: &[Verdict],
    find: impl Fn(KeyScope<'a>) -> Option<&'a Stored>,
) -> sqlx::Result<Answers> {
    let mut answers: Answers = Vec::with_capacity(group.len());
    for ((verdict, decision), claim) in verdicts.iter().zip(decisions).zip(claims) {
        let answer = match verdict {
            Verdict::Accepted | Verdict::Refused => {
                decision.outcome.map(Answer::Accepted).map_err(TransactionError::Refused)
            }
            Verdict::Replayed(Earlier::InGroup(first)) => match &answers[*first] {
                Ok(Answer::Accepted(transaction)) => Ok(Answer::Replayed(Arc::clone(transaction))),
                _ => return Err(sqlx::Error::RowNotFound),
            },
            Verdict::Replayed(Earlier::Stored) => {
                let stored = claim.scope.and_then(&find).ok_or(sqlx::Error::RowNotFound)?;
                Ok(Answer::Replayed(Arc::new(stored.transaction.clone())))
            }
            Verdict::Reused(_) => Err(Refusal::new(Code::IdempotencyKeyReused).at(&["input", "idempotencyKey"]).into()),
            Verdict::Lost => return Err(sqlx::Error::RowNotFound),
        };
        answers.push(answer);
    }
    Ok(answers)
}

/// One event per command that changed something or was refused; a repetition did neither.
fn events(shared: &Shared, group: &[Pending], answers: &Answers, now: DateTime<Utc>) -> Vec<NewEvent> {
    let ids = &shared.foundation.ids;
    let event = |(pending, answer): (&Pending, &Result<Answer, TransactionError>)| match answer {
        Ok(Answer::Accepted(transaction)) => {
            let cause = Cause::command(&pending.context, pending.instruction.command.name());
            Some(publish::initiated(cause, transaction))
        }
        Err(TransactionError::Refused(refusal)) => {
            Some(publish::refused(ids.next(), now, &pending.context, &pending.instruction, refusal.code))
        }
        _ => None,
    };
    group.iter().zip(answers).filter_map(event).collect()
}

fn accounts_of(group: &[Pending]) -> Vec<Uuid> {
    let mut accounts = Vec::with_capacity(group.len() * 2);
    for Pending { instruction, .. } in group {
        accounts.extend([instruction.source_account_id, instruction.destination_account_id]);
    }
    accounts.sort_unstable();
    accounts.dedup();
    accounts
}

/// Serialisation failures and deadlocks; and a row that was in the way and is gone, which the next attempt can insert.
fn lost_a_race(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => matches!(database.code().as_deref(), Some("40001" | "40P01")),
        sqlx::Error::RowNotFound => true,
        _ => false,
    }
}

fn count(group: &[Pending], answers: &Answers) {
    for (pending, answer) in group.iter().zip(answers) {
        let command = pending.instruction.command.name();
        match answer {
            Ok(Answer::Accepted(_)) => {
                counter!("vostro_transactions_total", "command" => command, "outcome" => "accepted").increment(1);
            }
            Ok(Answer::Replayed(_)) => {
                counter!("vostro_transactions_total", "command" => command, "outcome" => "replayed").increment(1);
            }
            Err(TransactionError::Refused(refusal)) => {
                let code = refusal.code.code();
                counter!("vostro_commands_refused_total", "module" => "transaction", "command" => command, "code" => code)
                    .increment(1);
            }
            Err(_) => {}
        }
    }
}

fn f64_of(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}
