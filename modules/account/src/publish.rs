//! The one translator from what happened in the module to the events others see.

use chrono::{DateTime, Utc};
use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::account::{
    AccountCreatedV1, AccountTerm, AccountUpdatedV2, BalanceChangedV1, PostedEntryV1, PostingAppliedV1,
    PostingRejectedV1,
};
use vostro_events::command::CommandRefusedV1;
use vostro_kernel::{Clock, Currency, Ids, RefusalCode, RequestContext};
use vostro_messaging::NewEvent;

use crate::domain::{Account, Booking, PostingRefusal, PostingRequest};

/// Writes the events of one database transaction, all of the same instant.
pub(crate) struct Publisher<'a> {
    ids: &'a dyn Ids,
    pub(crate) now: DateTime<Utc>,
}

impl<'a> Publisher<'a> {
    pub(crate) fn new(ids: &'a dyn Ids, clock: &dyn Clock) -> Self {
        Self { ids, now: clock.now() }
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
