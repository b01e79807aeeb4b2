use std::time::Duration;

use vostro_events::account::{
    AccountCreatedV1, AccountUpdatedV2, BalanceChangedV1, PostingAppliedV1, PostingRejectedV1,
};
use vostro_events::command::CommandRefusedV1;
use vostro_events::query::Query as _;
use vostro_events::query::account::PostingDecisionsV1;
use vostro_events::query::auth::NameCheckV1;
use vostro_events::transaction::{TransactionCompletedV1, TransactionFailedV1, TransactionInitiatedV1};
use vostro_messaging::{EventSelector, InboxMode, Manifest, Subscription};

/// The module's name: its folder, its schema, its exchange.
pub(crate) const MODULE: &str = "transaction";

/// What the ledger did with the transactions.
pub(crate) const POSTINGS: Subscription = Subscription {
    module: MODULE,
    name: "postings",
    events: EventSelector::Types(&[PostingAppliedV1::TYPE, PostingRejectedV1::TYPE]),
    batch: 500,
    linger: Duration::from_millis(4),
    // A transaction ends once: the guarded update is the memory of what was handled.
    inbox: InboxMode::Handler,
};

/// What there is to know about accounts.
pub(crate) const ACCOUNTS: Subscription = Subscription {
    module: MODULE,
    name: "accounts",
    events: EventSelector::Types(&[AccountCreatedV1::TYPE, AccountUpdatedV2::TYPE, BalanceChangedV1::TYPE]),
    batch: 500,
    linger: Duration::from_millis(20),
    // The stored sequences say what is old.
    inbox: InboxMode::Handler,
};

/// What the module is to the others.
pub fn manifest() -> Manifest {
    Manifest {
        module: MODULE,
        version: env!("CARGO_PKG_VERSION"),
        purpose: "Accepts payments once, follows them to the ledger's outcome, and keeps their history.",
        publishes: &[
            TransactionInitiatedV1::TYPE,
            TransactionCompletedV1::TYPE,
            TransactionFailedV1::TYPE,
            CommandRefusedV1::TYPES[2],
            "transaction.operator-acted.v1",
        ],
        claimed: &[],
        subscribes: vec![POSTINGS, ACCOUNTS],
        calls: &[PostingDecisionsV1::TYPE, NameCheckV1::TYPE],
        serves: &[],
        depends_on: &["account"],
        publish_linger: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_it_publishes_is_its_own() {
        for event_type in manifest().publishes {
            assert_eq!(event_type.split('.').next(), Some(MODULE), "{event_type}");
        }
    }

    #[test]
    fn each_of_its_events_is_published() {
        let declared: Vec<_> = vostro_events::catalog().into_iter().filter(|event| event.module() == MODULE).collect();
        assert_eq!(declared.len(), manifest().publishes.len());
        assert!(declared.iter().all(|event| manifest().publishes.contains(&event.event_type)));
    }
}
