//! The README says what the code does.

use vostro_kernel::RefusalCode as _;
use vostro_messaging::EventSelector;
use vostro_transaction::{Config, TransactionErrorCode, manifest};

const README: &str = include_str!("../README.md");

#[test]
fn every_refusal_event_and_default_is_described() {
    let manifest = manifest();
    let mut facts: Vec<String> = TransactionErrorCode::ALL.iter().map(|code| format!("`{}`", code.code())).collect();
    facts.extend(manifest.publishes.iter().map(|event_type| format!("`{event_type}`")));
    for subscription in &manifest.subscribes {
        facts.push(format!("| `{}` |", subscription.name));
        let EventSelector::Types(types) = subscription.events else { panic!("it names its events") };
        facts.extend(types.iter().map(|event_type| format!("`{event_type}`")));
    }
    let Config { group_workers, group_size, group_linger_ms, wait_ms, decision_timeout_s, decision_check_s } =
        Config::default();
    facts.push(format!("`transaction.group_workers` ({group_workers})"));
    facts.push(format!("`transaction.group_size` ({group_size})"));
    facts.push(format!("`transaction.group_linger_ms` ({group_linger_ms})"));
    facts.push(format!("`transaction.wait_ms` ({wait_ms})"));
    facts.push(format!("`transaction.decision_timeout_s` ({decision_timeout_s})"));
    facts.push(format!("`transaction.decision_check_s` ({decision_check_s})"));
    facts.extend(manifest.calls.iter().map(|query| format!("`{query}`")));
    for fact in facts {
        assert!(README.contains(&fact), "the README does not mention {fact}");
    }
}
