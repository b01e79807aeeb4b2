use std::collections::HashSet;

use serde_json::json;
use uuid::Uuid;
use vostro_account::domain::{InternalRole, Product};
use vostro_account::{Accounts, Config};
use vostro_events::account::AccountStatus;
use vostro_kernel::{ActorKind, Iban, RequestContext, Role, SystemIds};
use vostro_messaging::Module;
use vostro_testkit::{Consuming, deliver, incoming, reason_for_refusing};

use crate::fixture::{Bank, CREATED, asked, code, currency, customer, registered};

#[tokio::test]
async fn a_registration_opens_one_current_account_and_says_so() {
    let bank = Bank::open().await;
    let user = Uuid::now_v7();
    let registration = incoming(&registered(user, &[Role::Customer]), 1);
    let handler = bank.handler("registrations");
    deliver(bank.database.pool(), &handler, std::slice::from_ref(&registration)).await.expect("handled");

    let [account] = <[_; 1]>::try_from(bank.accounts_of(user).await).expect("one account");
    assert_eq!((account.product, account.currency, account.version), (Product::Current, currency("EUR"), 1));
    assert_eq!((account.status, account.balance.posted), (AccountStatus::Active, 0));
    assert!(Iban::parse(&account.number).is_ok(), "{}", account.number);
    let [(envelope, data)] = <[_; 1]>::try_from(bank.database.outbox_events().await).expect("one event");
    assert_eq!((envelope.event_type.as_str(), envelope.sequence), (CREATED, 1));
    assert_eq!((envelope.aggregate_type.as_ref(), envelope.aggregate_id), ("account", account.id));
    assert_eq!(envelope.cause.causation_id, registration.envelope.id);
    assert_eq!(envelope.cause.correlation_id, registration.envelope.cause.correlation_id);
    let expected = json!({
        "accountId": account.id, "number": account.number, "kind": "CUSTOMER", "product": "CURRENT",
        "ownerId": user, "currency": "EUR", "status": "ACTIVE", "name": "Current account",
    });
    assert_eq!(data, expected);
}

#[tokio::test]
async fn a_registration_that_is_delivered_again_opens_nothing_more() {
    let bank = Bank::open().await;
    let user = Uuid::now_v7();
    // The handler is asked without its inbox: the guarantee holds even when old inbox rows are gone.
    bank.register(&[user, user]).await;
    bank.register(&[user]).await;
    assert_eq!(bank.accounts_of(user).await.len(), 1);
    assert_eq!(bank.database.published(CREATED).await.len(), 1);
}

#[tokio::test]
async fn a_registration_that_comes_twice_opens_one_account() {
    let bank = Bank::open().await;
    let consuming = Consuming::start(&bank.database, &bank.subscription("registrations"));
    let registered = incoming(&registered(Uuid::now_v7(), &[Role::Customer]), 1);
    consuming.take(&[registered.clone(), registered]).await;
    assert_eq!(bank.database.take_published(CREATED).await.len(), 1);
    consuming.leaves_nothing_behind(&bank.database).await;
}

#[tokio::test]
async fn a_batch_of_registrations_gives_everybody_a_number_of_their_own() {
    let bank = Bank::open().await;
    let users = (0..50).map(|_| Uuid::now_v7()).collect::<Vec<_>>();
    bank.register(&users).await;
    let events = bank.database.published(CREATED).await;
    let numbers = events.iter().map(|event| event["number"].to_string()).collect::<HashSet<_>>();
    assert_eq!(numbers.len(), users.len());
}

#[tokio::test]
async fn staff_who_are_no_customers_get_no_account() {
    let bank = Bank::open().await;
    let (admin, both) = (Uuid::now_v7(), Uuid::now_v7());
    let events = [
        incoming(&registered(admin, &[Role::Admin]), 1),
        incoming(&registered(both, &[Role::Operator, Role::Customer]), 1),
    ];
    deliver(bank.database.pool(), &bank.handler("registrations"), &events).await.expect("handled");
    assert!(bank.accounts_of(admin).await.is_empty());
    assert_eq!(bank.accounts_of(both).await.len(), 1);
}

#[tokio::test]
async fn a_registration_that_cannot_be_read_is_invalid() {
    let bank = Bank::open().await;
    let mut event = incoming(&registered(Uuid::now_v7(), &[Role::Customer]), 1);
    event.data = serde_json::value::to_raw_value(&json!({"userId": "nobody"})).expect("JSON");
    let reason = reason_for_refusing(bank.database.pool(), &bank.handler("registrations"), event).await;
    assert!(reason.contains("UUID"), "{reason}");
}

#[tokio::test]
async fn a_customer_opens_further_accounts() {
    let bank = Bank::open().await;
    let owner = customer(Uuid::now_v7());
    let mut wanted = asked(Product::Savings, "CZK", "one");
    wanted.name = Some("  Rainy days ".into());
    let account = bank.accounts.open(&owner, &wanted).await.expect("opened");
    assert_eq!((account.name.as_str(), account.owner_id), ("Rainy days", owner.actor.id));
    assert_eq!(bank.see(account.id).await, account);
    let [(envelope, data)] = <[_; 1]>::try_from(bank.database.outbox_events().await).expect("one event");
    assert_eq!(envelope.cause.command.as_deref(), Some("accountOpen"));
    assert_eq!((envelope.cause.causation_id, envelope.cause.actor_kind), (owner.command_id, ActorKind::User));
    assert_eq!((data["product"].as_str(), data["currency"].as_str()), (Some("SAVINGS"), Some("CZK")));
}

#[tokio::test]
async fn the_same_key_and_input_give_the_same_account_and_another_input_is_refused() {
    let bank = Bank::open().await;
    let user = Uuid::now_v7();
    let open = async |wanted| bank.accounts.open(&customer(user), &wanted).await;
    let first = open(asked(Product::Current, "EUR", "key")).await.expect("opened");
    assert_eq!(open(asked(Product::Current, "EUR", "key")).await.expect("replayed"), first);
    assert_eq!(code(open(asked(Product::Savings, "EUR", "key")).await), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(code(open(asked(Product::Current, "CZK", "key")).await), "IDEMPOTENCY_KEY_REUSED");
    let named = vostro_account::OpenAccount { name: Some("x".into()), ..asked(Product::Current, "EUR", "key") };
    assert_eq!(code(open(named).await), "IDEMPOTENCY_KEY_REUSED");
    let other = bank.accounts.open(&customer(Uuid::now_v7()), &asked(Product::Current, "EUR", "key")).await;
    assert_ne!(other.expect("somebody else's key").id, first.id);
    assert_eq!(bank.accounts_of(user).await.len(), 1);
}

#[tokio::test]
async fn two_concurrent_commands_with_one_key_open_one_account() {
    let bank = Bank::open().await;
    let (owner, wanted) = (customer(Uuid::now_v7()), asked(Product::Current, "EUR", "key"));
    let (one, two) = tokio::join!(bank.accounts.open(&owner, &wanted), bank.accounts.open(&owner, &wanted));
    assert_eq!(one.expect("opened").id, two.expect("opened").id);
}

#[tokio::test]
async fn what_cannot_be_opened_is_refused_and_recorded() {
    let bank = Bank::open().await;
    let user = Uuid::now_v7();
    let named =
        |name: &str| vostro_account::OpenAccount { name: Some(name.into()), ..asked(Product::Current, "EUR", "key") };
    let cases = [
        (asked(Product::Internal, "EUR", "key"), "ACC_PRODUCT_NOT_OFFERED"),
        (asked(Product::Current, "JPY", "key"), "ACC_CURRENCY_UNSUPPORTED"),
        (named("a\nb"), "ACC_NAME_INVALID"),
        (asked(Product::Current, "EUR", "with blanks"), "IDEMPOTENCY_KEY_REQUIRED"),
    ];
    for (wanted, expected) in cases {
        let context = customer(user);
        assert_eq!(code(bank.accounts.open(&context, &wanted).await), expected);
        let (envelope, data) = bank.database.outbox_events().await.pop().expect("recorded");
        assert_eq!(envelope.event_type.as_str(), "account.command-refused.v1");
        assert_eq!((envelope.aggregate_type.as_ref(), envelope.sequence), ("command", 1));
        assert_eq!((envelope.aggregate_id, envelope.cause.actor_id), (context.command_id, Some(user)));
        let recorded =
            json!({"module": "account", "commandId": context.command_id, "command": "accountOpen", "code": expected});
        assert_eq!(data, recorded);
    }
    let nobody = RequestContext::of(vostro_kernel::Actor::ANONYMOUS, &SystemIds);
    assert_eq!(code(bank.accounts.open(&nobody, &asked(Product::Current, "EUR", "key")).await), "ACC_FORBIDDEN");
    assert!(bank.accounts_of(user).await.is_empty());
}

#[tokio::test]
async fn account_numbers_run_out_with_a_refusal() {
    let bank = Bank::open().await;
    bank.database.tamper("select setval('account.account_number', 99999999999)").await;
    let owner = customer(Uuid::now_v7());
    let outcome = bank.accounts.open(&owner, &asked(Product::Current, "EUR", "key")).await;
    assert_eq!(code(outcome), "ACC_NUMBERS_EXHAUSTED");
    // The key is not used up by it.
    bank.database.tamper("select setval('account.account_number', 1)").await;
    assert!(bank.accounts.open(&owner, &asked(Product::Current, "EUR", "key")).await.is_ok());
}

#[tokio::test]
async fn starting_creates_the_internal_accounts_of_every_currency_once() {
    let bank = Bank::closed().await;
    bank.accounts.start().await.expect("the first start");
    let events = bank.database.published(CREATED).await;
    assert_eq!(events.len(), 5 * Config::default().currencies.len());
    let cash = events.iter().find(|event| event["number"] == "CASH-EUR").expect("the cash account");
    let expected = json!({
        "accountId": InternalRole::Cash.account_id(currency("EUR")), "number": "CASH-EUR", "kind": "INTERNAL",
        "product": "INTERNAL", "currency": "EUR", "status": "ACTIVE", "name": "Cash EUR",
    });
    assert_eq!(*cash, expected);

    bank.accounts.start().await.expect("the second start");
    assert_eq!(bank.database.published(CREATED).await.len(), events.len());
}

#[tokio::test]
async fn a_currency_added_later_gets_its_internal_accounts_at_the_next_start() {
    let bank = Bank::open().await;
    let mut config = Config::default();
    config.currencies.push(currency("JPY"));
    let accounts = Accounts::new(bank.database.foundation(), config).expect("valid");
    accounts.start().await.expect("started");
    let numbers = bank.database.published(CREATED).await.into_iter().map(|event| event["number"].clone());
    assert_eq!(numbers.collect::<Vec<_>>(), ["CASH-JPY", "SETTLEMENT-JPY", "FEES-JPY", "INTEREST-JPY", "SUSPENSE-JPY"]);
}

#[tokio::test]
async fn a_configuration_that_contradicts_itself_does_not_start() {
    let bank = Bank::closed().await;
    let config = Config { currencies: vec![currency("CZK")], ..Config::default() };
    let error = Accounts::new(bank.database.foundation(), config).err().expect("refused");
    assert_eq!(error.to_string(), "the account module cannot start: default_currency EUR is not one of currencies");
}
