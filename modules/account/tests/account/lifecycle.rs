use serde_json::json;
use uuid::Uuid;
use vostro_account::domain::{InternalRole, Product};
use vostro_events::account::{AccountStatus, AccountUpdatedV1, AccountUpdatedV2};
use vostro_events::copy_of;
use vostro_kernel::{Actor, Money, RequestContext, Role, SystemIds};

use crate::fixture::{Bank, asked, code, currency, customer, euro, internal, operator, person, transfer};

const UPDATED: &str = AccountUpdatedV1::TYPE;

#[tokio::test]
async fn freezing_and_lifting_it_are_told_with_reason_and_version() {
    let bank = Bank::open().await;
    let account = bank.account_with(500).await;
    bank.forget_events().await;
    let officer = person(Uuid::now_v7(), &[Role::ComplianceOfficer]);
    let frozen = bank.accounts.freeze(&officer, account.id, " court order 12 ").await.expect("frozen");
    assert_eq!((frozen.status, frozen.version), (AccountStatus::Frozen, 2));
    assert_eq!(bank.see(account.id).await, frozen);
    let lifted = bank.accounts.unfreeze(&operator(), account.id, "order withdrawn").await.expect("lifted");
    assert_eq!((lifted.status, lifted.version), (AccountStatus::Active, 3));

    let events = bank.database.outbox_events().await;
    let [(first, data), (copy, copied), (second, second_data), _] =
        <[_; 4]>::try_from(events).expect("two, each twice");
    assert_eq!((first.event_type.as_str(), first.sequence), (UPDATED, 2));
    assert_eq!((first.aggregate_type.as_ref(), first.aggregate_id), ("account", account.id));
    assert_eq!((first.cause.command.as_deref(), first.cause.actor_id), (Some("accountFreeze"), officer.actor.id));
    let expected = json!({"accountId": account.id, "change": "STATUS", "ownerId": account.owner_id, "currency": "EUR",
                          "status": "FROZEN", "overdraftLimitMinor": 0, "reason": "court order 12"});
    assert_eq!(data, expected);
    assert_eq!((copy.event_type.as_str(), copy.id, copy.sequence), (AccountUpdatedV2::TYPE, copy_of(first.id), 2));
    assert_eq!((&copy.cause, copy.occurred_at, copy.slot()), (&first.cause, first.occurred_at, first.slot()));
    assert_eq!(copied["changed"], json!(["STATUS"]));
    assert_eq!((second.sequence, second_data["status"].as_str()), (3, Some("ACTIVE")));
    assert_eq!(second.cause.command.as_deref(), Some("accountUnfreeze"));
    bank.prove().await;
}

#[tokio::test]
async fn an_empty_account_is_closed_by_its_owner_and_takes_no_more_money() {
    let bank = Bank::open().await;
    let account = bank.account_with(0).await;
    let owner = customer(account.owner_id.expect("an owner"));
    bank.accounts.overdraft_arrange(&operator(), account.id, euro(100)).await.expect("arranged");
    let closed = bank.accounts.close(&owner, account.id).await.expect("closed");
    assert_eq!((closed.status, closed.balance.overdraft_limit), (AccountStatus::Closed, 0));
    let told = bank.database.published(AccountUpdatedV2::TYPE).await;
    assert_eq!(told.last().map(|event| &event["changed"]), Some(&json!(["STATUS", "OVERDRAFT_LIMIT"])));
    bank.post(&[transfer(internal(InternalRole::Cash), account.id, 1)]).await.expect("decided");
    assert_eq!(bank.posted(account.id).await, 0);
    assert_eq!(code(bank.accounts.close(&owner, account.id).await), "ACC_CLOSED");
    bank.prove().await;
}

#[tokio::test]
async fn an_account_with_money_is_not_closed() {
    let bank = Bank::open().await;
    let account = bank.account_with(1).await;
    assert_eq!(code(bank.accounts.close(&operator(), account.id).await), "ACC_CLOSE_NON_ZERO");
    let held = bank.account_with(0).await;
    bank.database.tamper("update account.balance set pending_in = 5 where posted = 0").await;
    assert_eq!(code(bank.accounts.close(&operator(), held.id).await), "ACC_CLOSE_HAS_HOLDS");
}

#[tokio::test]
async fn an_overdraft_is_arranged_and_told() {
    let bank = Bank::open().await;
    let account = bank.account_with(0).await;
    bank.forget_events().await;
    let arranged = bank.accounts.overdraft_arrange(&operator(), account.id, euro(2_500)).await.expect("arranged");
    assert_eq!((arranged.balance.available(), arranged.version), (2_500, 2));
    let [event] = <[_; 1]>::try_from(bank.database.published(UPDATED).await).expect("one event");
    let expected = json!({"accountId": account.id, "change": "OVERDRAFT", "ownerId": account.owner_id,
                          "currency": "EUR", "status": "ACTIVE", "overdraftLimitMinor": 2_500});
    assert_eq!(event, expected);

    let refused = async |limit| code(bank.accounts.overdraft_arrange(&operator(), account.id, limit).await);
    assert_eq!(refused(euro(-1)).await, "ACC_OVERDRAFT_OUT_OF_RANGE");
    assert_eq!(refused(Money::new(1, currency("CZK"))).await, "ACC_CURRENCY_MISMATCH");
    bank.post(&[transfer(account.id, internal(InternalRole::Fees), 1_000)]).await.expect("posted");
    assert_eq!(refused(euro(999)).await, "ACC_OVERDRAFT_EXCEEDED");
    let owner = customer(account.owner_id.expect("an owner"));
    let savings = bank.accounts.open(&owner, &asked(Product::Savings, "EUR", "s")).await.expect("opened");
    let outcome = bank.accounts.overdraft_arrange(&operator(), savings.id, euro(1)).await;
    assert_eq!(code(outcome), "ACC_OVERDRAFT_NOT_OFFERED");
    bank.prove().await;
}

#[tokio::test]
async fn internal_accounts_are_left_alone() {
    let bank = Bank::open().await;
    let cash = internal(InternalRole::Cash);
    assert_eq!(code(bank.accounts.freeze(&operator(), cash, "why").await), "ACC_INTERNAL");
    assert_eq!(code(bank.accounts.close(&operator(), cash).await), "ACC_INTERNAL");
    assert_eq!(code(bank.accounts.overdraft_arrange(&operator(), cash, euro(1)).await), "ACC_INTERNAL");
}

#[tokio::test]
async fn each_command_is_for_some_roles_only() {
    let bank = Bank::open().await;
    let account = bank.account_with(0).await;
    let owner = account.owner_id.expect("an owner");
    let nobody = RequestContext::of(Actor::ANONYMOUS, &SystemIds);
    let freeze = async |context: &RequestContext| code(bank.accounts.freeze(context, account.id, "why").await);
    let unfreeze = async |context: &RequestContext| code(bank.accounts.unfreeze(context, account.id, "why").await);
    let arrange =
        async |context: &RequestContext| code(bank.accounts.overdraft_arrange(context, account.id, euro(1)).await);
    let close = async |context: &RequestContext| code(bank.accounts.close(context, account.id).await);
    for context in [customer(owner), customer(Uuid::now_v7()), person(Uuid::now_v7(), &[Role::Admin]), nobody.clone()] {
        assert_eq!(freeze(&context).await, "ACC_FORBIDDEN");
        assert_eq!(unfreeze(&context).await, "ACC_FORBIDDEN");
        assert_eq!(arrange(&context).await, "ACC_FORBIDDEN");
    }
    assert_eq!(close(&person(Uuid::now_v7(), &[Role::ComplianceOfficer])).await, "ACC_FORBIDDEN");
    assert_eq!(close(&person(Uuid::now_v7(), &[Role::Admin])).await, "ACC_FORBIDDEN");
    // Somebody else's account does not exist.
    assert_eq!(close(&customer(Uuid::now_v7())).await, "ACC_NOT_FOUND");
    assert_eq!(close(&nobody).await, "ACC_NOT_FOUND");
    assert_eq!(bank.see(account.id).await, account);
    // The owner who is staff may close it too.
    assert!(bank.accounts.close(&person(owner, &[Role::Customer, Role::Admin]), account.id).await.is_ok());
}

#[tokio::test]
async fn every_refusal_is_recorded_and_changes_nothing() {
    let bank = Bank::open().await;
    let account = bank.account_with(0).await;
    bank.forget_events().await;
    let (stranger, clerk, unknown) = (customer(Uuid::now_v7()), operator(), Uuid::now_v7());
    let outcomes = [
        code(bank.accounts.freeze(&stranger, account.id, "why").await),
        code(bank.accounts.freeze(&clerk, account.id, " ").await),
        code(bank.accounts.unfreeze(&clerk, account.id, "why").await),
        code(bank.accounts.close(&stranger, account.id).await),
        code(bank.accounts.overdraft_arrange(&clerk, unknown, euro(1)).await),
    ];
    let expected = [
        ("accountFreeze", "ACC_FORBIDDEN", account.id),
        ("accountFreeze", "ACC_REASON_INVALID", account.id),
        ("accountUnfreeze", "ACC_NOT_FROZEN", account.id),
        ("accountClose", "ACC_NOT_FOUND", account.id),
        ("overdraftArrange", "ACC_NOT_FOUND", unknown),
    ];
    assert_eq!(outcomes.each_ref().map(String::as_str), expected.map(|(_, code, _)| code));
    let recorded = bank.database.published("account.command-refused.v1").await;
    assert_eq!(recorded.len(), expected.len());
    for (event, (command, code, subject)) in recorded.iter().zip(expected) {
        assert_eq!((event["command"].as_str(), event["code"].as_str()), (Some(command), Some(code)));
        assert_eq!(event["subjectId"], json!(subject));
    }
    assert_eq!(bank.database.outbox_events().await.len(), expected.len());
    assert_eq!(bank.see(account.id).await, account);
}
