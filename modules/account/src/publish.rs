//! The one translator from what happened in the module to the events others see.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::account::{
    AccountCreatedV1, AccountTerm, AccountUpdatedV2, BalanceChangedV1, PostedEntryV1, PostingAppliedV1,
    PostingRejectedV1, StatementEndedV1, StatementOutcome, StatementPartWrittenV1, StatementReadyV1,
    StatementRequestedV1, StatementTermEndedV1,
};
use vostro_events::command::CommandRefusedV1;
use vostro_kernel::{Clock, Currency, Ids, RefusalCode, RequestContext};
use vostro_messaging::{Appointment, NewEvent, ScheduledEvent};

use crate::domain::{Account, Booking, PostingRefusal, PostingRequest, Statement, StatementStatus};

/// Writes the events of one database transaction, all of the same instant.
pub(crate) struct Publisher<'a> {
    ids: &'a dyn Ids,
    pub(crate) now: DateTime<Utc>,
}

impl<'a> Publisher<'a> {
    pub(crate) fn new(ids: &'a dyn Ids, clock: &dyn Clock) -> Self {
        Self { ids, now: clock.now() }
    }

    /// The same behind what was booked at `last`. Two instances are never at the same instant, and the entries of an
    /// account are to be dated in their order. Further apart than clocks are by themselves, one of them is wrong, and
    /// this one is believed: a clock that was once set to next year must not date the ledger until then.
    pub(crate) fn booking_after(self, last: Option<DateTime<Utc>>) -> Self {
        const CLOCKS_DIFFER_BY: TimeDelta = TimeDelta::minutes(1);
        let last = last.filter(|last| *last > self.now && *last - self.now <= CLOCKS_DIFFER_BY);
        Self { now: last.unwrap_or(self.now), ..self }
    }

    fn event<E: vostro_events::DomainEvent>(&self, sequence: i64, cause: Cause, event: &E) -> NewEvent {
        NewEvent::new(self.ids.next(), self.now, sequence, cause, event)
    }

    pub(crate) fn account_created(&self, cause: Cause, account: &Account) -> NewEvent {
        let event = AccountCreatedV1 {
            account_id: account.id,
            number: account.number.clone(),
            kind: account.kind,
            product: account.product.as_str().to_owned(),
            owner_id: account.owner_id,
            currency: account.currency,
            status: account.status,
            name: account.name.clone(),
        };
        self.event(account.version, cause, &event)
    }

    pub(crate) fn account_updated(
        &self,
        cause: Cause,
        account: &Account,
        changed: Vec<AccountTerm>,
        reason: Option<String>,
    ) -> NewEvent {
        let event = AccountUpdatedV2 {
            account_id: account.id,
            changed,
            owner_id: account.owner_id,
            currency: account.currency,
            status: account.status,
            overdraft_limit_minor: account.balance.overdraft_limit,
            reason,
        };
        self.event(account.version, cause, &event)
    }

    pub(crate) fn posting_applied(&self, cause: Cause, request: &PostingRequest, bookings: &[Booking; 2]) -> NewEvent {
        let entries = bookings.iter().map(|booking| PostedEntryV1 {
            account_id: booking.account_id,
            amount_minor: booking.amount,
            sequence: booking.after.sequence,
        });
        let event = PostingAppliedV1 {
            transaction_id: request.transaction_id,
            currency: request.amount.currency,
            entries: entries.collect(),
            booked_at: self.now,
            booking_date: self.now.date_naive(),
        };
        self.event(1, cause, &event)
    }

    pub(crate) fn posting_rejected(&self, cause: Cause, transaction_id: Uuid, refusal: PostingRefusal) -> NewEvent {
        let event = PostingRejectedV1 { transaction_id, code: refusal.code().to_owned() };
        self.event(1, cause, &event)
    }

    pub(crate) fn balance_changed(
        &self,
        cause: Cause,
        transaction_id: Uuid,
        currency: Currency,
        booking: &Booking,
    ) -> NewEvent {
        let event = BalanceChangedV1 {
            account_id: booking.account_id,
            owner_id: booking.owner_id,
            currency,
            transaction_id,
            delta_minor: booking.amount,
            after: booking.after.into(),
        };
        self.event(booking.after.sequence, cause, &event)
    }

    pub(crate) fn statement_requested(&self, cause: Cause, statement: &Statement) -> NewEvent {
        let event = StatementRequestedV1 {
            statement_id: statement.id,
            account_id: statement.account_id,
            owner_id: statement.owner_id,
            from: statement.period.first(),
            to: statement.period.last(),
            entries: statement.entries,
        };
        self.event(statement.version, cause, &event)
    }

    /// The part that was just written, and that the statement is ready when that was the last.
    pub(crate) fn statement_written(
        &self,
        cause: &Cause,
        statement: &Statement,
        entries: i64,
        content: String,
    ) -> Vec<NewEvent> {
        let is_ready = statement.status == StatementStatus::Ready;
        let part = StatementPartWrittenV1 {
            statement_id: statement.id,
            account_id: statement.account_id,
            part: statement.parts,
            entries,
            content,
        };
        let mut events = vec![self.event(statement.version - i64::from(is_ready), cause.clone(), &part)];
        if is_ready {
            let ready = StatementReadyV1 {
                statement_id: statement.id,
                account_id: statement.account_id,
                owner_id: statement.owner_id,
                from: statement.period.first(),
                to: statement.period.last(),
                currency: statement.currency,
                opening_balance_minor: statement.opening_balance,
                closing_balance_minor: statement.closing_balance,
                entries: statement.entries,
                parts: statement.parts,
            };
            events.push(self.event(statement.version, cause.clone(), &ready));
        }
        events
    }

    /// `None` for a statement that has not ended, or is ready.
    pub(crate) fn statement_ended(&self, cause: Cause, statement: &Statement) -> Option<NewEvent> {
        let outcome = match statement.status {
            StatementStatus::Preparing | StatementStatus::Ready => return None,
            StatementStatus::Cancelled => StatementOutcome::Cancelled,
            StatementStatus::Failed => StatementOutcome::Failed,
            StatementStatus::Expired => StatementOutcome::Expired,
        };
        let failure_code = statement.failure.map(|failure| failure.as_str().to_owned());
        let (statement_id, account_id) = (statement.id, statement.account_id);
        let event = StatementEndedV1 { statement_id, account_id, outcome, failure_code };
        Some(self.event(statement.version, cause, &event))
    }

    /// The end of the term that counts for the statement.
    pub(crate) fn statement_term(
        &self,
        appointment: Appointment,
        due_at: DateTime<Utc>,
        cause: Cause,
        statement: &Statement,
    ) -> ScheduledEvent {
        let event = StatementTermEndedV1 { term_id: statement.term_id, statement_id: statement.id };
        // It happens long after the command, which has an event of its own.
        let cause = Cause { command: None, ..cause };
        ScheduledEvent::new(self.ids.next(), appointment, due_at, cause, &event)
    }

    pub(crate) fn command_refused(
        &self,
        context: &RequestContext,
        command: &'static str,
        code: &'static str,
        subject_id: Option<Uuid>,
    ) -> NewEvent {
        let event = CommandRefusedV1 {
            module: "account".to_owned(),
            command_id: context.command_id,
            command: command.to_owned(),
            code: code.to_owned(),
            subject_id,
        };
        self.event(1, Cause::command(context, command), &event)
    }
}
