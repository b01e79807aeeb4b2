//! The proof finds what it is for: each kind of damage, at its place.

use uuid::Uuid;
use vostro_account::domain::InternalRole;
use vostro_account::{Divergence, ProofProgress, ProofRule};

use crate::fixture::{Bank, internal, transfer};

/// A small ledger whose guards can be switched off.
struct Ledger {
    bank: Bank,
    one: Uuid,
    two: Uuid,
    last: Uuid,
}

impl Ledger {
    async fn open() -> Self {
        let bank = Bank::open().await;
        let (one, two) = (bank.account_with(100).await.id, bank.account_with(0).await.id);
        let batch = [transfer(one, two, 10), transfer(one, two, 1_000), transfer(two, one, 4)];
        bank.post(&batch).await.expect("posted");
        Self { bank, one, two, last: batch[2].envelope.aggregate_id }
    }

    /// Damages the ledger behind its guards and returns what the proof finds first.
    async fn damaged_by(&self, statement: &str) -> Divergence {
        let statement = statement
            .replace(":one", &format!("'{}'", self.one))
            .replace(":two", &format!("'{}'", self.two))
            .replace(":last", &format!("'{}'", self.last));
        for table in ["account", "balance", "entry", "posting", "rejection"] {
            self.bank.database.tamper(&format!("alter table account.{table} disable trigger user")).await;
        }
        self.bank.database.tamper(&statement).await;
        let proof = self.bank.accounts.verify_ledger(|_| {}).await.expect("the proof runs");
        assert!(!proof.is_ok());
        proof.divergence.expect("a divergence")
    }
}

#[tokio::test]
async fn a_sound_ledger_is_proven_and_counted() {
    let ledger = Ledger::open().await;
    let mut seen = Vec::new();
    let proof = ledger.bank.accounts.verify_ledger(|progress| seen.push(progress)).await.expect("the proof runs");
    assert_eq!(proof.divergence, None);
    assert_eq!((proof.accounts, proof.entries, proof.postings, proof.rejections), (22, 6, 4, 1));
    assert_eq!(seen.first(), Some(&ProofProgress { done: 0, total: 12 }));
    assert_eq!(seen.last(), Some(&ProofProgress { done: 12, total: 12 }));
    assert!(seen.is_sorted_by_key(|progress| progress.done));
}

#[tokio::test]
async fn an_empty_bank_is_proven_too() {
    let bank = Bank::closed().await;
    let proof = bank.accounts.verify_ledger(|_| {}).await.expect("the proof runs");
    assert!(proof.is_ok());
    assert_eq!((proof.accounts, proof.entries), (0, 0));
}

#[tokio::test]
async fn a_changed_amount_is_found_at_its_entry() {
    let ledger = Ledger::open().await;
    let found = ledger
        .damaged_by("update account.entry set amount = amount - 1 where account_id = :one and sequence = 2")
        .await;
    assert_eq!((found.rule, found.account_id, found.sequence), (ProofRule::EntriesContinue, Some(ledger.one), Some(2)));
}

#[tokio::test]
async fn a_changed_balance_after_is_found_at_its_entry() {
    let ledger = Ledger::open().await;
    let found =
        ledger.damaged_by("update account.entry set balance_after = 0 where account_id = :one and sequence = 3").await;
    assert_eq!((found.rule, found.sequence), (ProofRule::EntriesContinue, Some(3)));
}

#[tokio::test]
async fn a_missing_entry_is_found_at_the_next_one() {
    let ledger = Ledger::open().await;
    let found = ledger.damaged_by("delete from account.entry where account_id = :one and sequence = 2").await;
    assert_eq!((found.rule, found.account_id, found.sequence), (ProofRule::EntriesContinue, Some(ledger.one), Some(3)));
}

#[tokio::test]
async fn a_missing_last_entry_is_found_at_the_balance() {
    let ledger = Ledger::open().await;
    let found = ledger.damaged_by("delete from account.entry where account_id = :two and sequence = 2").await;
    assert_eq!((found.rule, found.account_id, found.sequence), (ProofRule::BalanceIsFold, Some(ledger.two), Some(2)));
    assert_eq!(found.detail, "the balance says 6 minor units after 2 entries, the entries say 10 after 1");
}

#[tokio::test]
async fn a_changed_balance_is_found() {
    let ledger = Ledger::open().await;
    let found = ledger.damaged_by("update account.balance set posted = posted + 1 where account_id = :two").await;
    assert_eq!((found.rule, found.account_id), (ProofRule::BalanceIsFold, Some(ledger.two)));
}

#[tokio::test]
async fn a_lost_balance_row_is_found() {
    let ledger = Ledger::open().await;
    let found = ledger.damaged_by("delete from account.balance where account_id = :two").await;
    assert_eq!((found.rule, found.account_id), (ProofRule::BalanceIsFold, Some(ledger.two)));
}

#[tokio::test]
async fn a_customer_below_the_limit_is_found() {
    let ledger = Ledger::open().await;
    let found = ledger
        .damaged_by(
            "alter table account.balance drop constraint balance_within_limit;
             update account.balance set locked = 1000 where account_id = :one",
        )
        .await;
    assert_eq!((found.rule, found.account_id), (ProofRule::WithinLimit, Some(ledger.one)));
}

#[tokio::test]
async fn terms_that_disagree_are_found() {
    let ledger = Ledger::open().await;
    let found = ledger.damaged_by("update account.balance set owner_id = account_id where account_id = :one").await;
    assert_eq!((found.rule, found.account_id), (ProofRule::TermsAgree, Some(ledger.one)));
    let ledger = Ledger::open().await;
    let found =
        ledger.damaged_by("update account.entry set currency = 'CZK' where account_id = :one and sequence = 2").await;
    assert_eq!((found.rule, found.account_id), (ProofRule::TermsAgree, Some(ledger.one)));
}

/// Adds the same amount to two accounts in a way that only the sum of the transaction gives away.
const MONEY_FROM_NOWHERE: &str = "
    update account.entry set amount = amount + 7, balance_after = balance_after + 7
      where account_id = :two and sequence = 2;
    update account.balance set posted = posted + 7 where account_id = :two";

#[tokio::test]
async fn money_from_nowhere_is_found_at_its_transaction() {
    let ledger = Ledger::open().await;
    let found = ledger.damaged_by(MONEY_FROM_NOWHERE).await;
    assert_eq!((found.rule, found.transaction_id), (ProofRule::PostingsComplete, Some(ledger.last)));
    assert!(found.account_id.is_some() && found.sequence.is_some());
    assert_eq!(found.detail, "2 entries that sum to 7 minor units do not move what was decided");
}

#[tokio::test]
async fn entries_nobody_decided_are_found() {
    let ledger = Ledger::open().await;
    let found = ledger.damaged_by("delete from account.posting where transaction_id = :last").await;
    assert_eq!((found.rule, found.transaction_id), (ProofRule::PostingsComplete, Some(ledger.last)));
    assert!(found.detail.contains("never decided"));
}

#[tokio::test]
async fn entries_of_a_rejected_transaction_are_found() {
    let ledger = Ledger::open().await;
    let found = ledger.damaged_by("insert into account.rejection values (:last, 'ACC_FROZEN')").await;
    assert_eq!(found.transaction_id, Some(ledger.last));
    assert!(found.detail.contains("was rejected"));
}

#[tokio::test]
async fn a_decided_transaction_without_entries_is_found() {
    let ledger = Ledger::open().await;
    let found = ledger.damaged_by("delete from account.rejection").await;
    assert_eq!(found.rule, ProofRule::PostingsComplete);
    assert!(found.detail.starts_with("0 entries that sum to 0"), "{}", found.detail);
}

#[tokio::test]
async fn entries_on_the_wrong_account_are_found() {
    let ledger = Ledger::open().await;
    let found = ledger
        .damaged_by("update account.posting set source_account_id = :one, destination_account_id = :two where transaction_id = :last")
        .await;
    assert_eq!((found.rule, found.transaction_id), (ProofRule::PostingsComplete, Some(ledger.last)));
}

#[tokio::test]
async fn entries_of_an_account_nobody_knows_are_found() {
    let ledger = Ledger::open().await;
    let statement =
        format!("update account.entry set account_id = '{}' where account_id = :one", Uuid::from_u128(u128::MAX));
    let found = ledger.damaged_by(&statement).await;
    assert_eq!((found.rule, found.account_id), (ProofRule::BalanceIsFold, Some(ledger.one)));
    assert!(ledger.bank.posted(internal(InternalRole::Cash)).await < 0);
}
