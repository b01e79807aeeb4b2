use std::time::Duration;

use vostro_events::account::{AccountCreatedV1, AccountUpdatedV2, StatementReadyV1};
use vostro_events::auth::{UserLoggedInV1, UserRegisteredV1, UserUpdatedV1};
use vostro_events::notification::{
    NotificationDeliveredV1, NotificationReadV1, NotificationSentV1, PreferenceChangedV1,
};
use vostro_events::transaction::{TransactionCompletedV1, TransactionFailedV1};
use vostro_messaging::{EventSelector, InboxMode, Manifest, Subscription};

/// The module's name: its schema, its exchange, its part in event types.
pub(crate) const MODULE: &str = "notification";

/// The events people are told about, and those that say how to reach them.
pub(crate) const BUSINESS_EVENTS: Subscription = Subscription {
    module: MODULE,
    name: "business-events",
    events: EventSelector::Types(&[
        UserRegisteredV1::TYPE,
        UserLoggedInV1::TYPE,
        UserUpdatedV1::TYPE,
        AccountCreatedV1::TYPE,
        AccountUpdatedV2::TYPE,
        StatementReadyV1::TYPE,
        TransactionCompletedV1::TYPE,
        TransactionFailedV1::TYPE,
    ]),
    batch: 500,
    linger: Duration::from_millis(50),
    inbox: InboxMode::Rows,
};

/// What the module is to the others.
pub fn manifest() -> Manifest {
    Manifest {
        module: MODULE,
        version: env!("CARGO_PKG_VERSION"),
        purpose: "Tells people what happened, in the app and by e-mail, as they prefer.",
        publishes: &[
            NotificationSentV1::TYPE,
            NotificationDeliveredV1::TYPE,
            NotificationReadV1::TYPE,
            PreferenceChangedV1::TYPE,
            "notification.command-refused.v1",
            "notification.operator-acted.v1",
        ],
        claimed: &[],
        subscribes: vec![BUSINESS_EVENTS],
        calls: &[],
        serves: &[],
        depends_on: &[],
        publish_linger: Duration::from_millis(50),
    }
}
