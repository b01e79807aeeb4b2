//! Whether an account belongs to somebody of a name: asked of those who know, and of nobody else.

mod common;

use std::sync::Arc;

use common::{Bank, created, updated};
use uuid::Uuid;
use vostro_events::account::{AccountCreatedV1, AccountStatus};
use vostro_events::query::auth::{NameCheckAnswerV1, NameCheckResult, NameCheckV1};
use vostro_kernel::Iban;
use vostro_messaging::rpc::{Asking, Callee, respond_to};
use vostro_testkit::{Wire, WireMood, incoming};
use vostro_transaction::domain::PayeeCheck;
use vostro_transaction::{Config, Transactions};

const IBAN: &str = "LT12 1000 0111 0100 1000";
const UNKNOWN: &str = "GB82 WEST 1234 5698 7654 32";

struct Asked {
    bank: Bank,
    transactions: Transactions,
    wire: Wire,
    account: Uuid,
}

impl Asked {
    /// Jan Novák, and an auth module that knows him and is fooled by one slip.
    async fn open() -> Self {
        let bank = Bank::open().await;
        let (owner, account) = (Uuid::now_v7(), Uuid::now_v7());
        let number = Iban::parse(IBAN).expect("an IBAN").to_string();
        let event = AccountCreatedV1 { number, ..created(account, Some(owner)) };
        bank.hear_of_accounts(&[incoming(&event, 1)]).await;
        let responder = respond_to(move |NameCheckV1 { user_id, name }| async move {
            assert_eq!(user_id, owner, "it is his name that is compared");
            let (result, suggestion) = match name.as_str() {
                "Jan Novák" => (NameCheckResult::Match, None),
                "Jan Nowak" => (NameCheckResult::CloseMatch, Some("J*** N***".to_owned())),
                _ => (NameCheckResult::NoMatch, None),
            };
            Ok(NameCheckAnswerV1 { result, suggestion })
        });
        let callee = Callee::new("auth", vec![responder], &[vostro_transaction::manifest()]);
        let wire = Wire::new("transaction", vec![callee]);
        let mut foundation = bank.database.foundation();
        foundation.asking = Asking::new("transaction");
        foundation.asking.connect(Arc::new(wire.clone()));
        let transactions = Transactions::new(foundation, Config::default()).expect("a valid configuration");
        Self { bank, transactions, wire, account }
    }

    async fn check(&self, number: &str, name: &str) -> PayeeCheck {
        let number = Iban::parse(number).expect("an IBAN");
        self.transactions.payee_check(&number, name).await.expect("the database answers")
    }
}

#[tokio::test]
async fn a_payee_is_verified_by_name() {
    let asked = Asked::open().await;
    assert_eq!(asked.check(IBAN, "Jan Novák").await, PayeeCheck::Match);
    let close = PayeeCheck::CloseMatch { suggestion: "J*** N***".to_owned() };
    assert_eq!(asked.check(IBAN, "Jan Nowak").await, close);
    assert_eq!(asked.check(IBAN, "Eve").await, PayeeCheck::NoMatch);
}

#[tokio::test]
async fn about_an_account_that_is_closed_or_not_a_customers_nobody_can_say() {
    let asked = Asked::open().await;
    assert_eq!(asked.check(UNKNOWN, "Jan Novák").await, PayeeCheck::Unavailable);
    let closed = updated(asked.account, None, AccountStatus::Closed);
    asked.bank.hear_of_accounts(&[incoming(&closed, 2)]).await;
    assert_eq!(asked.check(IBAN, "Jan Novák").await, PayeeCheck::Unavailable);
    assert_eq!(asked.wire.carried(), 0);
}

#[tokio::test]
async fn without_an_answer_the_check_is_unavailable_and_soon_costs_no_time() {
    let asked = Asked::open().await;
    asked.wire.set(WireMood::IsCut);
    for _ in 0..20 {
        assert_eq!(asked.check(IBAN, "Jan Novák").await, PayeeCheck::Unavailable);
    }
    assert!(asked.wire.carried() < 20, "the breaker is open");
}
