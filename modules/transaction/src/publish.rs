//! What happened, in the words the other modules know.

use chrono::{DateTime, Utc};
use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::command::CommandRefusedV1;
use vostro_events::transaction::{TransactionCompletedV1, TransactionFailedV1, TransactionInitiatedV1};
use vostro_kernel::{RefusalCode as _, RequestContext};
use vostro_messaging::NewEvent;

use crate::domain::{Instruction, Transaction};
use crate::error::TransactionErrorCode;
use crate::manifest::MODULE;

/// A payment was accepted. The event has the transaction's id, so that it can be said again as the same event.
pub(crate) fn initiated(cause: Cause, transaction: &Transaction) -> NewEvent {
    let event = TransactionInitiatedV1 {
        transaction_id: transaction.id,
        kind: transaction.kind,
        route: transaction.route(),
        amount: transaction.amount,
        reference: transaction.reference.clone(),
    };
    NewEvent::new(transaction.id, transaction.initiated_at, 1, cause, &event)
}

/// A payment ended, one way or the other.
pub(crate) fn ended(id: Uuid, now: DateTime<Utc>, cause: Cause, transaction: &Transaction) -> NewEvent {
    let sequence = transaction.sequence();
    match &transaction.failure_code {
        None => {
            let event = TransactionCompletedV1 {
                transaction_id: transaction.id,
                kind: transaction.kind,
                route: transaction.route(),
                amount: transaction.amount,
                reference: transaction.reference.clone(),
                booked_at: transaction.occurred_at(),
            };
            NewEvent::new(id, now, sequence, cause, &event)
        }
        Some(code) => {
            let event = TransactionFailedV1 {
                transaction_id: transaction.id,
                kind: transaction.kind,
                route: transaction.route(),
                amount: transaction.amount,
                code: code.clone(),
            };
            NewEvent::new(id, now, sequence, cause, &event)
        }
    }
}

/// A command was refused; for the audit log.
pub(crate) fn refused(
    id: Uuid,
    now: DateTime<Utc>,
    context: &RequestContext,
    instruction: &Instruction,
    code: TransactionErrorCode,
) -> NewEvent {
    let command = instruction.command.name();
    let event = CommandRefusedV1 {
        module: MODULE.to_owned(),
        command_id: context.command_id,
        command: command.to_owned(),
        code: code.code().to_owned(),
        subject_id: Some(instruction.subject()),
    };
    NewEvent::new(id, now, 1, Cause::command(context, command), &event)
}
