//! What was written under an old version is read as the newest one, for ever. For each upcaster there are pairs of what
//! goes in and what must come out: `upcasts/<type>/<case>.in.json` and `<case>.out.json`. A released pair is never edited.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;
use vostro_events::account::{AccountChange, AccountStatus, AccountTerm, AccountUpdatedV1, AccountUpdatedV2};
use vostro_events::{
    EventDescription, EventType, NextVersionOf, Upcaster, catalog, read_data, reads_all_history, upcasters,
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn described(event_type: &str) -> EventDescription {
    catalog().into_iter().find(|event| event.event_type == event_type).unwrap_or_else(|| panic!("{event_type}"))
}

/// The schemas of the owner's writers in every release of a version.
fn released(event_type: &str) -> Vec<jsonschema::Validator> {
    let folder = folder("released").join(event_type);
    let schemas = names(&folder).into_iter().map(|name| json(&folder.join(name)));
    schemas.map(|schema| jsonschema::validator_for(&schema).expect("a schema")).collect()
}

/// What goes in and what must come out, by case.
fn pairs(upcaster: &Upcaster) -> BTreeMap<String, (Value, Value)> {
    let folder = folder("upcasts").join(upcaster.from);
    let files = names(&folder);
    let cases: BTreeSet<&str> = files
        .iter()
        .map(|name| {
            let case = name.strip_suffix(".in.json").or_else(|| name.strip_suffix(".out.json"));
            case.unwrap_or_else(|| panic!("{name} is neither <case>.in.json nor <case>.out.json"))
        })
        .collect();
    let read = |case: &str, side: &str| json(&folder.join(format!("{case}.{side}.json")));
    cases.into_iter().map(|case| (case.to_owned(), (read(case, "in"), read(case, "out")))).collect()
}

#[test]
fn every_upcaster_has_pairs_and_makes_of_each_what_it_must() {
    assert!(upcasters().iter().next().is_some(), "there was a version to follow another");
    for upcaster in upcasters().iter() {
        let pairs = pairs(upcaster);
        assert!(!pairs.is_empty(), "{}: put a pair into events/upcasts", upcaster.from);
        for (case, (before, after)) in pairs {
            let what = format!("{} {case}", upcaster.from);
            assert!(
                released(upcaster.from).iter().any(|schema| schema.is_valid(&before)),
                "{what}: nobody ever wrote what goes in"
            );
            let upcast = (upcaster.upcast)(before).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(upcast, after, "{what}");
        }
    }
}

#[test]
fn what_comes_out_is_what_the_owner_of_the_next_version_could_have_written_and_is_understood_without_loss() {
    for upcaster in upcasters().iter() {
        let next = described(upcaster.to);
        let schema = serde_json::to_value(&next.schema).expect("a schema is JSON");
        let closed = jsonschema::validator_for(&schema).expect("a schema");
        for (case, (before, _)) in pairs(upcaster) {
            let upcast = (upcaster.upcast)(before).expect("upcast");
            let errors: Vec<String> = closed.iter_errors(&upcast).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{} {case}: {errors:?}", upcaster.from);
            let understood = (next.round_trip)(&upcast.to_string()).expect("decodable");
            assert_eq!(understood, without_nulls(upcast), "{} {case}", upcaster.from);
        }
    }
}

/// A field that is null and one that is absent are the same to every reader.
fn without_nulls(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, field| !field.is_null());
    }
    value
}

#[test]
fn every_pair_is_of_an_upcaster() {
    let known: BTreeSet<String> = upcasters().iter().map(|upcaster| upcaster.from.to_owned()).collect();
    assert_eq!(names(&folder("upcasts")), known, "events/upcasts has a folder per upcaster and nothing else");
}

#[test]
fn every_sample_of_an_old_version_is_read_as_the_newest() {
    for upcaster in upcasters().iter() {
        let newest = newest_of(upcaster.from);
        let chain = upcasters().chain(upcaster.from, newest).unwrap_or_else(|| panic!("{} is cut off", upcaster.from));
        let sample = std::fs::read_to_string(folder("samples").join(format!("{}.json", upcaster.from)));
        let data = RawValue::from_string(sample.expect("a sample")).expect("JSON");
        let upcast = chain.apply(&data).unwrap_or_else(|error| panic!("{}: {error}", upcaster.from));
        (described(newest).round_trip)(upcast.get()).unwrap_or_else(|error| panic!("{}: {error}", upcaster.from));
    }
}

fn newest_of(event_type: &'static str) -> &'static str {
    let event = EventType::of(event_type);
    let versions = catalog().into_iter().map(|other| other.event_type);
    let versions = versions.filter(|other| EventType::of(other).event() == event.event());
    versions.max_by_key(|other| EventType::of(other).major()).expect("at least itself")
}

#[test]
fn stored_data_are_read_in_their_own_version_or_a_later_one_and_in_no_other() {
    let data = RawValue::from_string(json(&folder("samples").join("account.account-updated.v1.json")).to_string());
    let data = data.expect("JSON");
    let (one, two) = (AccountUpdatedV1::TYPE, AccountUpdatedV2::TYPE);
    assert_eq!(read_data(one, &data, one).expect("its own").get(), data.get());
    let read = read_data(one, &data, two).expect("a later one");
    let read: AccountUpdatedV2 = serde_json::from_str(read.get()).expect("it fits");
    assert_eq!(read.changed, [AccountTerm::Status]);
    for (written, wanted) in [(two, one), ("account.account-created.v1", two), ("nobody.knows.v1", one)] {
        let refused = read_data(written, &data, wanted).expect_err("no way there").to_string();
        assert!(refused.contains(&format!("no upcaster leads there from {written}")), "{refused}");
    }
}

#[test]
fn whoever_takes_an_event_can_read_all_that_was_released_of_it() {
    for event in catalog() {
        assert_eq!(reads_all_history(event.event_type), Ok(()));
    }
}

#[test]
fn versions_of_an_event_are_numbered_in_the_same_aggregate() {
    for upcaster in upcasters().iter() {
        assert_eq!(described(upcaster.from).aggregate, described(upcaster.to).aggregate, "{}", upcaster.to);
    }
}

#[test]
fn data_that_were_never_released_are_refused() {
    for upcaster in upcasters().iter() {
        for never in [Value::Null, Value::from(1), Value::from("text"), Value::Array(vec![]), serde_json::json!({})] {
            let valid = released(upcaster.from).iter().any(|schema| schema.is_valid(&never));
            assert!(valid || (upcaster.upcast)(never.clone()).is_err(), "{} takes {never}", upcaster.from);
        }
    }
}

fn account_updated() -> impl Strategy<Value = AccountUpdatedV1> {
    let change = prop_oneof![Just(AccountChange::Status), Just(AccountChange::Overdraft)];
    let status = prop_oneof![Just(AccountStatus::Active), Just(AccountStatus::Frozen), Just(AccountStatus::Closed)];
    let owner = prop::option::of(any::<u128>().prop_map(Uuid::from_u128));
    (any::<u128>(), change, owner, status, any::<i64>(), prop::option::of(".*")).prop_map(
        |(account, change, owner_id, status, overdraft_limit_minor, reason)| AccountUpdatedV1 {
            account_id: Uuid::from_u128(account),
            change,
            owner_id,
            currency: "EUR".parse().expect("a currency"),
            status,
            overdraft_limit_minor,
            reason,
        },
    )
}

proptest! {
    #[test]
    fn whatever_was_said_of_an_account_is_said_in_the_next_version(before in account_updated()) {
        let value = serde_json::to_value(&before).expect("events serialise");
        let upcast = AccountUpdatedV2::upcast(value).expect("what was written can be read");
        let schema = serde_json::to_value(&described(AccountUpdatedV2::TYPE).schema).expect("a schema is JSON");
        prop_assert!(jsonschema::is_valid(&schema, &upcast));
        let after: AccountUpdatedV2 = serde_json::from_value(upcast).expect("decodable");
        let changed = match before.change {
            AccountChange::Status => AccountTerm::Status,
            AccountChange::Overdraft => AccountTerm::OverdraftLimit,
        };
        let expected = AccountUpdatedV2 {
            account_id: before.account_id,
            changed: vec![changed],
            owner_id: before.owner_id,
            currency: before.currency,
            status: before.status,
            overdraft_limit_minor: before.overdraft_limit_minor,
            reason: before.reason,
        };
        prop_assert_eq!(after, expected);
    }
}

#[test]
fn a_term_of_a_later_release_is_passed_over_and_not_refused() {
    let sample = std::fs::read_to_string(folder("samples/account.account-updated.v2.json")).expect("a sample");
    let later = sample.replace("\"STATUS\"", "\"NAME\"");
    let event: AccountUpdatedV2 = serde_json::from_str(&later).expect("an open list");
    assert_eq!(event.changed, [AccountTerm::Other("NAME".to_owned()), AccountTerm::OverdraftLimit]);
}
