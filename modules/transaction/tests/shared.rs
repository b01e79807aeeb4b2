//! Payments that instances find in a Redis, and payments that are read before anybody asks for them.

mod common;

use std::time::Duration;

use common::{Bank, applied, operator, somebody};
use sqlx::postgres::PgPoolOptions;
use vostro_kernel::{Actor, RequestContext, Role, SystemIds};
use vostro_messaging::{Caching, Foundation, Module as _, SharedStore};
use vostro_testkit::{Redis, eventually};
use vostro_transaction::{Config, Transactions};

fn store(redis: &Redis) -> SharedStore {
    SharedStore::new(&redis.url(), "a secret of the bank", Duration::from_secs(60)).expect("an address")
}

/// An instance that has kept nothing itself.
fn instance(foundation: Foundation, shared: SharedStore) -> Transactions {
    let caching = Caching { entities: 100, shared: Some(shared), ..Caching::OFF };
    Transactions::new(Foundation { caching, ..foundation }, Config::default()).expect("a valid configuration")
}

/// One that cannot reach its database.
async fn cut_off(bank: &Bank, redis: &Redis) -> Transactions {
    let pool = PgPoolOptions::new().connect_lazy_with((*bank.database.pool().connect_options()).clone());
    pool.close().await;
    instance(Foundation { pool, ..bank.database.foundation() }, store(redis))
}

#[tokio::test]
async fn a_payment_that_another_instance_has_read_is_shown_without_the_database_to_those_who_may_see_it() {
    let (bank, redis) = (Bank::open().await, Redis::start().await);
    let (ended, open) = (bank.pay("a", "1").await.id, bank.pay("b", "2").await.id);
    bank.hear_of_postings(&[applied(ended)]).await;
    let payer = bank.payer.context();

    let (here, there) = (store(&redis), cut_off(&bank, &redis).await);
    let found = eventually("a payment that was read is found in Redis", || async {
        let reader = instance(bank.database.foundation(), here.clone());
        reader.transactions_by_id(&payer, &[ended, open]).await.expect("readable");
        there.transaction(&payer, ended).await.ok()
    })
    .await;
    assert_eq!(found, bank.transactions.transaction(&payer, ended).await.expect("readable"));
    assert!(there.transaction(&payer, open).await.is_err(), "what may change is asked of the database");

    let readers = [
        ("a stranger", somebody(&[Role::Customer]), false),
        ("nobody", RequestContext::of(Actor::ANONYMOUS, &SystemIds), false),
        ("the payee", bank.payee.context(), true),
        ("an operator", operator(), true),
    ];
    for (who, context, may_see) in readers {
        // Each is the first who asks an instance for it.
        let there = cut_off(&bank, &redis).await;
        let found =
            eventually("it is found in Redis", || async { there.transaction(&context, ended).await.ok() }).await;
        assert_eq!(found.is_some(), may_see, "{who}");
    }
}

#[tokio::test]
async fn the_newest_payments_that_have_ended_are_read_ahead() {
    let bank = Bank::open().await;
    let (old, ended, open) = (bank.pay("a", "1").await.id, bank.pay("b", "2").await.id, bank.pay("c", "3").await.id);
    bank.hear_of_postings(&[applied(old), applied(ended)]).await;
    let caching = Caching { entities: 100, warm: 2, ..Caching::OFF };
    let foundation = Foundation { caching, ..bank.database.foundation() };
    let instance = Transactions::new(foundation, Config::default()).expect("a valid configuration");
    instance.warm().await;

    bank.database.tamper("update transaction.transaction set reference = 'behind its back'").await;
    let reference = async |id| {
        let found = instance.transaction(&bank.payer.context(), id).await.expect("readable");
        found.expect("visible").reference
    };
    assert_eq!(reference(ended).await, None, "it was read before");
    for id in [open, old] {
        assert_eq!(reference(id).await.as_deref(), Some("behind its back"));
    }
}
