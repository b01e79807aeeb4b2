//! Random commands with repeated keys, given to two instances at once: what is true whatever the interleaving.

mod common;

use std::collections::{HashMap, HashSet};

use common::Bank;
use futures::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use uuid::Uuid;
use vostro_transaction::{Initiated, TransactionError, TransactionErrorCode as Code};

#[derive(Debug, Clone)]
struct Asked {
    key: u8,
    /// Minor units; zero is refused by the rules.
    amount: u8,
    by_payer: bool,
    to_first: bool,
}

fn asked() -> impl Strategy<Value = Asked> {
    (0..6_u8, 0..3_u8, any::<bool>(), any::<bool>()).prop_map(|(key, amount, by_payer, to_first)| Asked {
        key,
        amount,
        by_payer,
        to_first,
    })
}

type Answered = Result<Initiated, TransactionError>;

#[test]
fn each_key_is_accepted_once_and_every_answer_fits_what_was_accepted() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let bank = runtime.block_on(Bank::open());
    let second = runtime.block_on(async { bank.another_instance() });
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() });
    let outcome = runner.run(&proptest::collection::vec(asked(), 1..60), |commands| {
        // Keys of earlier cases stay used.
        let case = Uuid::now_v7();
        let ask = |command: &Asked| {
            let (person, other) = if command.by_payer { (bank.payer, bank.payee) } else { (bank.payee, bank.payer) };
            let amount = format!("0.0{}", command.amount);
            let mut input = bank.transfer(&format!("{case}-{}", command.key), &amount);
            (input.source_account_id, input.destination_account_id) = (person.account, other.account);
            let transactions = if command.to_first { bank.transactions.clone() } else { second.clone() };
            async move { transactions.transfer_create(&person.context(), input).await }
        };
        let answers = runtime.block_on(async { join_all(commands.iter().map(ask)).await });
        check(&commands, &answers)?;
        let stored: i64 = runtime.block_on(async {
            sqlx::query_scalar("select count(*) from transaction.transaction where idempotency_key like $1 || '%'")
                .bind(case.to_string())
                .fetch_one(bank.database.pool())
                .await
                .expect("a count")
        });
        let accepted = answers.iter().filter(|answer| answer.as_ref().is_ok_and(|initiated| !initiated.replayed));
        prop_assert_eq!(usize::try_from(stored), Ok(accepted.count()));
        Ok(())
    });
    if let Err(TestError::Fail(reason, commands)) = outcome {
        panic!("{reason}\n{commands:#?}");
    }
    runtime.block_on(async {
        let initiated = bank.database.published("transaction.initiated.v1").await;
        let ids: HashSet<_> = initiated.iter().map(|event| event["transactionId"].to_string()).collect();
        assert_eq!(ids.len(), initiated.len(), "one event per transaction");
        let stored = bank.count("select count(*) from transaction.transaction").await;
        assert_eq!(usize::try_from(stored), Ok(ids.len()), "one transaction per event");
    });
}

fn check(commands: &[Asked], answers: &[Answered]) -> Result<(), TestCaseError> {
    let mut accepted: HashMap<(bool, u8), (u8, Uuid)> = HashMap::new();
    for (command, answer) in commands.iter().zip(answers) {
        if let Ok(Initiated { transaction, replayed: false }) = answer {
            let earlier = accepted.insert((command.by_payer, command.key), (command.amount, transaction.id));
            prop_assert!(earlier.is_none(), "a key was accepted twice");
        }
    }
    for (command, answer) in commands.iter().zip(answers) {
        let first = accepted.get(&(command.by_payer, command.key));
        match answer {
            Ok(initiated) => {
                prop_assert_eq!(first, Some(&(command.amount, initiated.transaction.id)));
                prop_assert_eq!(initiated.transaction.amount.minor, i64::from(command.amount));
            }
            Err(error) => match error.refusal().map(|refusal| refusal.code) {
                Some(Code::IdempotencyKeyReused) => {
                    prop_assert!(first.is_some_and(|(amount, _)| *amount != command.amount));
                }
                Some(Code::InvalidAmount) => prop_assert_eq!(command.amount, 0),
                other => prop_assert!(false, "an unexpected refusal: {:?} {:?}", other, error),
            },
        }
    }
    // A good command is refused only when its key belongs to another one.
    for (command, _) in commands.iter().zip(answers).filter(|(command, _)| command.amount > 0) {
        prop_assert!(accepted.contains_key(&(command.by_payer, command.key)));
    }
    Ok(())
}
