use std::time::Duration;

use vostro_events::account::{
    AccountCreatedV1, AccountUpdatedV2, BalanceChangedV1, PostingAppliedV1, PostingRejectedV1, StatementEndedV1,
    StatementPartWrittenV1, StatementReadyV1, StatementRequestedV1, StatementTermEndedV1,
};
use vostro_events::auth::UserRegisteredV1;
use vostro_events::query::Query as _;
use vostro_events::query::account::{CLAIM, PostingDecisionsV1};
use vostro_events::transaction::TransactionInitiatedV1;
use vostro_messaging::{EventSelector, InboxMode, Manifest, Subscription};

/// What the account module is to the others.
pub fn manifest() -> Manifest {
    Manifest {
        module: "account",
        version: env!("CARGO_PKG_VERSION"),
        purpose: "Keeps accounts and the double-entry ledger; the only writer of money.",
        publishes: &[
            AccountCreatedV1::TYPE,
            AccountUpdatedV2::TYPE,
            BalanceChangedV1::TYPE,
            PostingAppliedV1::TYPE,
            PostingRejectedV1::TYPE,
            StatementRequestedV1::TYPE,
            StatementPartWrittenV1::TYPE,
            StatementReadyV1::TYPE,
            StatementEndedV1::TYPE,
            StatementTermEndedV1::TYPE,
            "account.command-refused.v1",
            "account.operator-acted.v1",
        ],
        claimed: &[StatementPartWrittenV1::TYPE],
        subscribes: vec![postings(), registrations(), statement_terms()],
        calls: &[],
        serves: &[PostingDecisionsV1::TYPE, CLAIM],
        // Not transaction: its transfers can wait, and it cannot start without our accounts.
        depends_on: &["auth"],
        publish_linger: Duration::ZERO,
    }
}

/// Accepted transfers, to be booked. A posting's own row tells a redelivered transfer from a new one, so no inbox row is
/// written beside it.
pub(crate) fn postings() -> Subscription {
    Subscription {
        module: "account",
        name: "postings",
        events: EventSelector::Types(&[TransactionInitiatedV1::TYPE]),
        batch: 500,
        linger: Duration::from_millis(4),
        inbox: InboxMode::Handler,
    }
}

/// What the module has told itself to do about statements when their time is up. The statement's own row tells a term that
/// has ended before from one that has not, so no inbox row is written beside it.
pub(crate) fn statement_terms() -> Subscription {
    Subscription {
        module: "account",
        name: "statement-terms",
        events: EventSelector::Types(&[StatementTermEndedV1::TYPE]),
        batch: 50,
        linger: Duration::ZERO,
        inbox: InboxMode::Handler,
    }
}

/// New customers, who get their first account.
pub(crate) fn registrations() -> Subscription {
    Subscription {
        module: "account",
        name: "registrations",
        events: EventSelector::Types(&[UserRegisteredV1::TYPE]),
        batch: 100,
        linger: Duration::ZERO,
        inbox: InboxMode::Rows,
    }
}
