//! What a module may not do, tried on the broker: it must refuse each.

use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use vostro_messaging::{Broker as _, PublishError, Publisher as _, SENDER, decode};
use vostro_rabbitmq::testing::TestBroker;
use vostro_rabbitmq::topology::user_name;
use vostro_rabbitmq::{AmqpBroker, ConnectionHealth, ManagementClient, Supervisor};

use crate::support::{DEAD_LETTERS, QUEUE, UPDATED, eventually, frame, manifests, next, within};

/// What a client of the broker can do that it may not.
enum Attempt {
    Publish { exchange: &'static str, routing_key: &'static str },
    PublishAs { user: &'static str },
    Consume(&'static str),
    Get(&'static str),
    Purge(&'static str),
    DeclareQueue(&'static str),
    DeclareExchange(&'static str),
    DeleteQueue(&'static str),
    DeleteExchange(&'static str),
    Bind { queue: &'static str, exchange: &'static str },
    Unbind { queue: &'static str, exchange: &'static str },
}

/// auth owns `ev.auth` and listens to nobody; account owns `q.account.customers` and tells `account.*`.
const AUTH_MAY_NOT: [Attempt; 18] = [
    Attempt::Publish { exchange: "ev.account", routing_key: "account.account-created.v1.s00" },
    Attempt::Publish { exchange: "", routing_key: QUEUE },
    Attempt::Publish { exchange: "dlx", routing_key: "account.customers" },
    Attempt::Publish { exchange: "ev.unrouted", routing_key: "" },
    Attempt::Publish { exchange: "amq.topic", routing_key: "x" },
    Attempt::PublishAs { user: "account" },
    Attempt::PublishAs { user: "operator" },
    Attempt::Consume(QUEUE),
    Attempt::Get(DEAD_LETTERS),
    Attempt::Get("q.ev.unrouted"),
    Attempt::Purge(QUEUE),
    Attempt::DeclareQueue("q.auth.mine"),
    Attempt::DeclareExchange("ev.auth.mine"),
    Attempt::DeleteQueue(QUEUE),
    Attempt::DeleteExchange("ev.auth"),
    Attempt::Bind { queue: QUEUE, exchange: "ev.auth" },
    Attempt::Unbind { queue: QUEUE, exchange: "ev.auth" },
    Attempt::DeclareQueue(""),
];

const ACCOUNT_MAY_NOT: [Attempt; 5] = [
    Attempt::Publish { exchange: "ev.auth", routing_key: "auth.user-updated.v1.s00" },
    Attempt::DeleteQueue(QUEUE),
    Attempt::DeclareQueue("q.account.another"),
    Attempt::Bind { queue: QUEUE, exchange: "ev.auth" },
    Attempt::Unbind { queue: QUEUE, exchange: "ev.auth" },
];

impl Attempt {
    fn described(&self) -> String {
        match self {
            Self::Publish { exchange, .. } => format!("publishing to {exchange:?}"),
            Self::PublishAs { user } => format!("publishing in the name of {user}"),
            Self::Consume(queue) => format!("consuming {queue}"),
            Self::Get(queue) => format!("reading {queue}"),
            Self::Purge(queue) => format!("purging {queue}"),
            Self::DeclareQueue(queue) => format!("declaring the queue {queue:?}"),
            Self::DeclareExchange(exchange) => format!("declaring the exchange {exchange}"),
            Self::DeleteQueue(queue) => format!("deleting the queue {queue}"),
            Self::DeleteExchange(exchange) => format!("deleting the exchange {exchange}"),
            Self::Bind { queue, exchange } => format!("binding {queue} to {exchange}"),
            Self::Unbind { queue, exchange } => format!("unbinding {queue} from {exchange}"),
        }
    }

    /// What the broker says to it.
    fn refusal(&self) -> &'static str {
        match self {
            Self::PublishAs { .. } => "PRECONDITION_FAILED",
            _ => "ACCESS_REFUSED",
        }
    }

    /// Tries it on a channel of its own, because a refusal closes the channel.
    async fn on(&self, channel: &Channel, vhost: &str) -> lapin::Result<()> {
        let table = FieldTable::default;
        match *self {
            Self::Publish { exchange, routing_key } => {
                publish(channel, exchange, routing_key, BasicProperties::default()).await
            }
            Self::PublishAs { user } => {
                let properties = BasicProperties::default().with_user_id(user_name(vhost, user).into());
                publish(channel, "ev.auth", "auth.user-updated.v1.s00", properties).await
            }
            Self::Consume(queue) => channel
                .basic_consume(queue.into(), "stranger".into(), BasicConsumeOptions::default(), table())
                .await
                .map(drop),
            Self::Get(queue) => channel.basic_get(queue.into(), BasicGetOptions::default()).await.map(drop),
            Self::Purge(queue) => channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.map(drop),
            Self::DeclareQueue(queue) => {
                let options = QueueDeclareOptions { durable: true, ..Default::default() };
                channel.queue_declare(queue.into(), options, table()).await.map(drop)
            }
            Self::DeclareExchange(exchange) => {
                let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
                channel.exchange_declare(exchange.into(), ExchangeKind::Topic, options, table()).await
            }
            Self::DeleteQueue(queue) => {
                channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.map(drop)
            }
            Self::DeleteExchange(exchange) => {
                channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await
            }
            Self::Bind { queue, exchange } => {
                let options = QueueBindOptions::default();
                channel.queue_bind(queue.into(), exchange.into(), "#".into(), options, table()).await
            }
            Self::Unbind { queue, exchange } => {
                channel.queue_unbind(queue.into(), exchange.into(), "auth.user-updated.v1.#".into(), table()).await
            }
        }
    }
}

async fn publish(channel: &Channel, exchange: &str, key: &str, properties: BasicProperties) -> lapin::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions::default();
    channel.basic_publish(exchange.into(), key.into(), options, b"{}", properties).await?.await.map(drop)
}

async fn connection_of(broker: &TestBroker, module: &str) -> Connection {
    let url = std::env::var(vostro_rabbitmq::testing::AMQP_URL).expect("set, or the test would not have come here");
    let (_, address) = url.rsplit_once('@').expect("an address with a user");
    let password = broker.passwords().of(module).expect("a module");
    let url = format!("amqp://{}:{password}@{address}/{}", user_name(&broker.vhost, module), broker.vhost);
    Connection::connect(&url, ConnectionProperties::default()).await.expect("the module's user can log in")
}

async fn expect_refusals(broker: &TestBroker, module: &str, attempts: &[Attempt]) {
    let connection = connection_of(broker, module).await;
    for attempt in attempts {
        let channel = connection.create_channel().await.expect("a refusal closes a channel, not the connection");
        let answer = within("an answer", attempt.on(&channel, &broker.vhost)).await;
        let refusal = answer.err().map_or_else(|| "nothing: it was done".to_owned(), |error| error.to_string());
        assert!(refusal.contains(attempt.refusal()), "{module} {}: the broker said {refusal}", attempt.described());
    }
}

#[tokio::test]
async fn a_module_is_refused_whatever_is_not_its_own() {
    let broker = TestBroker::with_topology("forbidden", &manifests()).await;
    expect_refusals(&broker, "auth", &AUTH_MAY_NOT).await;
    expect_refusals(&broker, "account", &ACCOUNT_MAY_NOT).await;
    let live = vostro_rabbitmq::topology::read_live(&broker.management, &broker.vhost).await.expect("answered");
    let topology = vostro_rabbitmq::Topology::of(&manifests()).expect("valid");
    assert_eq!(vostro_rabbitmq::topology::diff(&topology, &live), [], "and nothing was changed");
}

#[tokio::test]
async fn a_module_publishes_to_its_own_exchange_and_reads_its_own_queues() {
    let broker = TestBroker::with_topology("allowed", &manifests()).await;
    let confirms = broker.publisher("auth").send(vec![frame(UPDATED, 0)]).await.expect("written");
    assert_eq!(within("confirms", confirms).await, [Ok(())]);
    let consumers = broker.broker_of("account");
    let mut deliveries = consumers.consume(QUEUE, 10).await.expect("its own queue");
    let delivery = next(deliveries.as_mut()).await;
    assert_eq!(delivery.message.headers[SENDER], "auth");
    deliveries.reject(delivery.tag).await.expect("rejected");
    let mut letters = consumers.consume(DEAD_LETTERS, 10).await.expect("its own dead letters");
    let letter = next(letters.as_mut()).await;
    assert_eq!(letter.message.headers[SENDER], "auth", "dead-lettering keeps the sender");
    letters.ack_through(letter.tag).await.expect("acknowledged");
}

#[tokio::test]
async fn publishing_to_a_foreign_exchange_is_an_error_with_the_brokers_reason() {
    let broker = TestBroker::with_topology("foreign", &manifests()).await;
    let publisher = broker.publisher("account");
    let confirms = publisher.send(vec![frame(UPDATED, 0)]).await.expect("written");
    let results = within("an answer", confirms).await;
    let [Err(PublishError::Unavailable(reason))] = results.as_slice() else { panic!("{results:?}") };
    assert!(reason.contains("ACCESS_REFUSED"), "{reason}");
}

#[tokio::test]
async fn a_module_that_loses_its_rights_publishes_nothing_and_goes_on_when_it_has_them_again() {
    let broker = TestBroker::with_topology("revoked", &manifests()).await;
    let publisher = broker.publisher("auth");
    let confirms = publisher.send(vec![frame(UPDATED, 0)]).await.expect("written");
    assert_eq!(within("confirms", confirms).await, [Ok(())]);
    let user = user_name(&broker.vhost, "auth");
    broker.management.grant(&broker.vhost, &user, "^$", "^$", "^$").await.expect("revoked");
    // The broker remembers for each channel what was allowed.
    broker.close_connections().await;
    let reason = eventually("a refusal", async || match publisher.send(vec![frame(UPDATED, 1)]).await {
        Ok(confirms) => match within("an answer", confirms).await.as_slice() {
            [Err(PublishError::Unavailable(reason))] if reason.contains("ACCESS_REFUSED") => Some(reason.clone()),
            [Ok(())] => panic!("it had no right to"),
            _ => None,
        },
        Err(_) => None,
    })
    .await;
    assert!(reason.contains("ev.auth"), "{reason}");
    broker.management.grant(&broker.vhost, &user, "^$", r"^ev\.auth$", "^$").await.expect("granted");
    eventually("acceptance", async || {
        let confirms = publisher.send(vec![frame(UPDATED, 2)]).await.ok()?;
        (within("confirms", confirms).await == [Ok(())]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_foreign_queue_is_an_error_that_leaves_the_own_ones_alone() {
    let broker = TestBroker::with_topology("foreign-queue", &manifests()).await;
    let consumers = broker.broker_of("account");
    let _own = consumers.consume(QUEUE, 10).await.expect("its own queue");
    let Err(error) = consumers.consume("q.ev.unrouted", 10).await else { panic!("it is not its own") };
    assert!(error.to_string().contains("ACCESS_REFUSED"), "{error}");
    assert_eq!(consumers.supervisor().health(), ConnectionHealth::Connected);
}

#[tokio::test]
async fn an_event_that_somebody_else_slipped_in_is_readable_and_refused() {
    let broker = TestBroker::with_topology("slipped", &manifests()).await;
    // An administrator may write anywhere, and says who it is: nobody who owns the event.
    let administrator = Supervisor::start(broker.endpoint.clone(), "administrator");
    let publisher = vostro_rabbitmq::AmqpPublisher::new(administrator, "auth");
    let confirms = publisher.send(vec![frame(UPDATED, 0)]).await.expect("written");
    assert_eq!(within("confirms", confirms).await, [Ok(())]);
    let consumers = broker.broker_of("account");
    let mut deliveries = consumers.consume(QUEUE, 10).await.expect("consuming");
    let delivery = next(deliveries.as_mut()).await;
    let refused = decode(&delivery.message).expect_err("the sender does not own it").to_string();
    assert_eq!(refused, "auth.user-updated.v1 was sent by \"\", which does not own it");
}

#[tokio::test]
async fn a_wrong_password_is_told_and_no_other_module_can_use_it() {
    let broker = TestBroker::with_topology("password", &manifests()).await;
    let (auth, account) = (user_name(&broker.vhost, "auth"), broker.passwords().of("account").expect("given"));
    let supervisor = Supervisor::start(broker.endpoint.clone().with_login(&auth, account), "stranger");
    eventually("the refusal", async || match supervisor.health() {
        ConnectionHealth::Down(reason) if reason.contains("ACCESS_REFUSED") => Some(()),
        _ => None,
    })
    .await;
    assert!(AmqpBroker::new(supervisor).consume(QUEUE, 1).await.is_err());
}

#[tokio::test]
async fn modules_cannot_use_the_management_api_and_the_monitor_sees_all_but_the_users() {
    let broker = TestBroker::with_topology("management", &manifests()).await;
    let client = |role: &str| {
        let url = std::env::var(vostro_rabbitmq::testing::MANAGEMENT_URL).expect("set");
        let (_, address) = url.rsplit_once('@').expect("an address with a user");
        let password = broker.passwords().of(role).expect("given");
        ManagementClient::new(&format!("http://{}:{password}@{address}", user_name(&broker.vhost, role)))
            .expect("valid")
    };
    assert!(client("account").version().await.is_err());
    let live = vostro_rabbitmq::topology::read_live(&client("monitor"), &broker.vhost).await.expect("it may look");
    assert_eq!(live.users, None);
    let topology = vostro_rabbitmq::Topology::of(&manifests()).expect("valid");
    assert_eq!(vostro_rabbitmq::topology::diff(&topology, &live), []);
    assert!(client("monitor").delete_queue(&broker.vhost, QUEUE).await.is_err());
    assert!(broker.management.queue(&broker.vhost, QUEUE).await.expect("answered").is_some());
}
