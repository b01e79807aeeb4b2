//! Old events are read for ever: from the broker, the archive and the dead letters. So what reading an event needs must
//! cover everything that any release has written as that version.
//!
//! `released/<type>/<major>.<minor>.json` are the writers' schemas of all releases. They are never edited.

use std::path::{Path, PathBuf};

use jsonschema::canonical::Containment;
use serde_json::{Value, json};
use vostro_events::catalog;

/// Readers whose coverage the checker cannot decide and somebody has reviewed: type, released version, why it holds.
const REVIEWED: [(&str, &str, &str); 0] = [];

fn released(event_type: &str) -> Vec<(String, Value)> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("released").join(event_type);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| {
        panic!("{}: {error}; a new event is released by copying its schema to 1.0.json there", folder.display())
    });
    let mut writers: Vec<(String, Value)> = files
        .map(|file| {
            let path = file.expect("readable").path();
            let version = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("readable");
            (version, serde_json::from_str(&text).expect("JSON"))
        })
        .collect();
    writers.sort_by_key(|(version, _)| minor(version));
    writers
}

fn minor(version: &str) -> u32 {
    let minor = version.split_once('.').and_then(|(_, minor)| minor.parse().ok());
    minor.unwrap_or_else(|| panic!("{version} is not <major>.<minor>"))
}

fn covers(reader: &Value, writer: &Value) -> Containment {
    let canonical = |schema| {
        let options = jsonschema::canonical::options().should_validate_formats(true);
        options.canonicalize(schema).expect("a schema that can be compared")
    };
    canonical(reader).covers(&canonical(writer)).unwrap_or(Containment::Unknown)
}

#[test]
fn what_reading_needs_covers_whatever_any_release_has_written() {
    for event in catalog() {
        let reader = serde_json::to_value(&event.reader).expect("a schema is JSON");
        for (version, writer) in released(event.event_type) {
            let reviewed = REVIEWED.iter().any(|(reviewed, of, _)| (*reviewed, *of) == (event.event_type, &version));
            let answer = covers(&reader, &writer);
            assert!(
                answer == Containment::Yes || (answer == Containment::Unknown && reviewed),
                "{} {version}: {}: this release cannot read what that one wrote; make a new version of the event",
                event.event_type,
                answer.as_str()
            );
        }
    }
}

#[test]
fn a_writer_that_changes_is_released_under_a_new_minor_version() {
    for event in catalog() {
        let (version, newest) = released(event.event_type).pop().expect("at least one release");
        let now: Value = serde_json::from_str(&event.schema_text()).expect("JSON");
        assert!(
            newest == now,
            "{} is not what was released as {version}. If every reader still covers it, copy events/schemas/{0}.json to \
             events/released/{0}/, one minor version further; if not, make a new version of the event.",
            event.event_type
        );
        let major = event.event_type.rsplit_once(".v").expect("a version").1;
        for (index, (version, _)) in released(event.event_type).iter().enumerate() {
            assert_eq!(version, &format!("{major}.{index}"), "{}: versions have no gaps", event.event_type);
        }
    }
}

#[test]
fn no_released_event_is_forgotten() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("released");
    for entry in std::fs::read_dir(folder).expect("the folder exists") {
        let name = entry.expect("readable").file_name().to_string_lossy().into_owned();
        assert!(
            catalog().iter().any(|event| event.event_type == name),
            "{name} was released and cannot be read any more"
        );
    }
}

#[test]
fn everything_an_owner_writes_is_in_its_schema() {
    fn closed(schema: &Value) -> bool {
        match schema {
            Value::Object(fields) => {
                let open =
                    fields.contains_key("properties") && fields.get("additionalProperties") != Some(&json!(false));
                !open && fields.values().all(closed)
            }
            Value::Array(items) => items.iter().all(closed),
            _ => true,
        }
    }
    for event in catalog() {
        assert!(closed(event.schema.as_value()), "{} is open", event.event_type);
        assert!(!closed(event.reader.as_value()), "the reader of {} is closed", event.event_type);
    }
}

/// A change to what is written, as somebody could make it, and whether readers of before live with it. What the checker
/// cannot decide counts as no.
type Change = (&'static str, bool, fn(&mut Value));

const CHANGES: [Change; 9] = [
    ("a new optional field", true, |writer| writer["properties"]["note"] = json!({ "type": "string" })),
    ("a new required field", true, |writer| {
        writer["properties"]["note"] = json!({ "type": "string" });
        writer["required"].as_array_mut().expect("a list").push(json!("note"));
    }),
    ("a field that is gone", false, |writer| {
        writer["properties"].as_object_mut().expect("fields").remove("currency");
        writer["required"].as_array_mut().expect("a list").retain(|name| name != "currency");
    }),
    ("a field that may be missing", false, |writer| {
        writer["required"].as_array_mut().expect("a list").retain(|name| name != "bookedAt");
    }),
    ("a field of another type", false, |writer| {
        writer["properties"]["transactionId"] = json!({ "type": "integer" });
    }),
    ("a field in another format", false, |writer| {
        writer["properties"]["bookingDate"]["format"] = json!("date-time");
    }),
    ("a text that follows another pattern", false, |writer| {
        writer["$defs"]["Currency"]["pattern"] = json!("^[a-z]{3}$");
    }),
    ("a field of a part that is gone", false, |writer| {
        let entry = &mut writer["$defs"]["PostedEntryV1"];
        entry["properties"].as_object_mut().expect("fields").remove("sequence");
        entry["required"].as_array_mut().expect("a list").retain(|name| name != "sequence");
    }),
    ("an amount as text", false, |writer| {
        writer["$defs"]["PostedEntryV1"]["properties"]["amountMinor"] = json!({ "type": "string" });
    }),
];

#[test]
fn a_change_that_breaks_readers_is_caught_and_one_that_does_not_is_allowed() {
    let posting = catalog().into_iter().find(|event| event.event_type == "account.posting-applied.v1").expect("known");
    let reader = serde_json::to_value(&posting.reader).expect("a schema is JSON");
    for (what, allowed, change) in CHANGES {
        let mut writer: Value = serde_json::from_str(&posting.schema_text()).expect("JSON");
        change(&mut writer);
        assert_eq!(covers(&reader, &writer) == Containment::Yes, allowed, "{what}");
    }
}

#[test]
fn a_new_value_of_a_list_breaks_readers() {
    let account = catalog().into_iter().find(|event| event.event_type == "account.account-created.v1").expect("known");
    let reader = serde_json::to_value(&account.reader).expect("a schema is JSON");
    let mut writer: Value = serde_json::from_str(&account.schema_text()).expect("JSON");
    let values = writer["$defs"]["AccountStatus"]["oneOf"].as_array_mut().expect("a list");
    values.push(json!({ "const": "DORMANT", "type": "string" }));
    assert_eq!(covers(&reader, &writer), Containment::No);
}
