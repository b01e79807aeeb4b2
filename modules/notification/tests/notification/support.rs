use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::account::{AccountCreatedV1, AccountKind, AccountStatus};
use vostro_events::auth::{LoginMethod, UserLoggedInV1, UserRegisteredV1};
use vostro_events::transaction::{RouteV1, TransactionCompletedV1, TransactionFailedV1, TransactionKind};
use vostro_kernel::{Actor, ActorKind, FixedClock, Ids as _, Money, Page, RequestContext, Role, SystemIds};
use vostro_messaging::{Contact, ContactKey, Handler, Incoming, Module as _};
use vostro_notification::domain::Notification;
use vostro_notification::{Config, EmailConfig, Filter, MIGRATIONS, Notifications, SmtpConfig, TlsMode};
use vostro_testkit::{Database, deliver, incoming, incoming_caused_by};

pub const NAME: &str = "Ada Lovelace";
pub const EMAIL: &str = "ada@people.example";

/// The module with a database of its own, a clock that stands still and, unless a test brings a mail server, a folder
/// for e-mails.
pub struct Bench {
    pub database: Database,
    pub module: Notifications,
    pub clock: Arc<FixedClock>,
    pub key: Arc<ContactKey>,
    pub folder: PathBuf,
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with_smtp(port: u16) -> Self {
        Self::with(|email| {
            let smtp =
                SmtpConfig { host: "127.0.0.1".into(), port, tls: TlsMode::None, username: None, password: None };
            email.smtp = Some(smtp);
        })
        .await
    }

    pub async fn with(configure: impl FnOnce(&mut EmailConfig)) -> Self {
        let database = Database::create("notification", &MIGRATIONS).await;
        let clock = Arc::new(FixedClock::at(start()));
        let key = Arc::new(ContactKey::derive("a secret of this test"));
        let folder = std::env::temp_dir().join(format!("vostro-mail-{}", Uuid::now_v7().simple()));
        let mut email = EmailConfig { folder: folder.clone(), max_attempts: 3, ..EmailConfig::default() };
        configure(&mut email);
        let config = Config { email, ..Config::default() };
        let foundation = database.foundation_at(clock.clone());
        let module = Notifications::new(foundation, config, key.clone()).expect("a valid configuration");
        module.start().await.expect("the module starts");
        Self { database, module, clock, key, folder }
    }

    pub fn handler(&self) -> Arc<dyn Handler> {
        self.module.handlers().remove(0).handler
    }

    /// Delivers events as one batch.
    pub async fn consume(&self, batch: &[Incoming]) {
        deliver(self.database.pool(), &self.handler(), batch).await.expect("the batch is handled");
    }

    pub fn registered(&self, user: Uuid) -> Incoming {
        self.registered_in(user, "en-GB")
    }

    pub fn registered_in(&self, user: Uuid, locale: &str) -> Incoming {
        let contact = Contact { display_name: NAME.into(), email: EMAIL.into() };
        let event = UserRegisteredV1 {
            user_id: user,
            sealed_contact: self.key.seal(user, &contact),
            locale: locale.into(),
            roles: vec![Role::Customer],
        };
        incoming(&event, 1)
    }

    /// Status, and the reason where there is one, of every decision, in the order they were made.
    pub async fn decisions(&self) -> Vec<(String, String, String, Option<String>)> {
        sqlx::query_as(
            "select topic, channel, status, coalesce(suppressed, failure) from notification.notification order by sequence",
        )
        .fetch_all(self.database.pool())
        .await
        .expect("the decisions are readable")
    }

    /// Status and reason of the only e-mail.
    pub async fn email(&self) -> (String, Option<String>) {
        let mut mails = self.decisions().await;
        mails.retain(|(_, channel, _, _)| channel == "EMAIL");
        assert_eq!(mails.len(), 1, "{mails:?}");
        let (_, _, status, reason) = mails.remove(0);
        (status, reason)
    }

    pub async fn list(&self, user: Uuid) -> Vec<Notification> {
        let mut list = self
            .module
            .notifications(&as_user(user), Filter::default(), Page::forward(None, 100))
            .await
            .expect("a list");
        list.truncate(100);
        list
    }

    pub fn advance(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    pub async fn send(&self) -> usize {
        self.module.send_due_emails().await.expect("a pass")
    }

    pub async fn published_types(&self) -> Vec<String> {
        let events = self.database.outbox_events().await;
        events.into_iter().map(|(envelope, _)| envelope.event_type.to_string()).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).expect("a time")
}

pub fn as_user(user: Uuid) -> RequestContext {
    RequestContext::of(Actor::person(user, [Role::Customer].into_iter().collect(), None), &SystemIds)
}

pub fn euro(minor: i64) -> Money {
    Money::new(minor, "EUR".parse().expect("a currency"))
}

pub fn logged_in(user: Uuid) -> Incoming {
    incoming(&UserLoggedInV1 { user_id: user, session_id: Uuid::now_v7(), method: LoginMethod::Password }, 2)
}

pub fn account(account: Uuid, owner: Option<Uuid>) -> AccountCreatedV1 {
    AccountCreatedV1 {
        account_id: account,
        number: "CZ6508000000192000145399".into(),
        kind: if owner.is_some() { AccountKind::Customer } else { AccountKind::Internal },
        product: "SAVINGS".into(),
        owner_id: owner,
        currency: "EUR".parse().expect("a currency"),
        status: AccountStatus::Active,
        name: "Rainy days".into(),
    }
}

/// An account a person asked for.
pub fn account_opened(id: Uuid, owner: Uuid) -> Incoming {
    let cause = Cause {
        correlation_id: SystemIds.next(),
        causation_id: SystemIds.next(),
        command: Some("accountOpen".into()),
        actor_kind: ActorKind::User,
        actor_id: Some(owner),
        traceparent: None,
    };
    incoming_caused_by(&account(id, Some(owner)), 1, cause)
}

pub fn route(payer: Option<Uuid>, payee: Option<Uuid>) -> RouteV1 {
    RouteV1 {
        source_account_id: Uuid::now_v7(),
        destination_account_id: Uuid::now_v7(),
        source_owner_id: payer,
        destination_owner_id: payee,
    }
}

pub fn completed(kind: TransactionKind, payer: Option<Uuid>, payee: Option<Uuid>) -> Incoming {
    let event = TransactionCompletedV1 {
        transaction_id: Uuid::now_v7(),
        kind,
        route: route(payer, payee),
        amount: euro(125_000),
        reference: Some("rent of Mr Turing".into()),
        booked_at: start(),
    };
    incoming(&event, 2)
}

pub fn failed(payer: Option<Uuid>, payee: Option<Uuid>, code: &str) -> Incoming {
    let event = TransactionFailedV1 {
        transaction_id: Uuid::now_v7(),
        kind: TransactionKind::Transfer,
        route: route(payer, payee),
        amount: euro(125_000),
        code: code.into(),
    };
    incoming(&event, 2)
}

pub fn transfer(payer: Uuid, payee: Uuid) -> Incoming {
    completed(TransactionKind::Transfer, Some(payer), Some(payee))
}
