//! The released language: a JSON Schema and a sample per event version. A change that these tests notice is a new version.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use vostro_events::catalog;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}; run `make gen`", path.display()))
}

#[test]
fn the_committed_schema_of_every_event_is_what_its_struct_says() {
    for event in catalog() {
        let path = folder("schemas").join(format!("{}.json", event.event_type));
        assert_eq!(
            read(&path),
            event.schema_text(),
            "{} is stale: run `make gen`, and think of a new version",
            path.display()
        );
    }
}

#[test]
fn every_sample_is_valid_and_understood_without_loss() {
    for event in catalog() {
        let text = read(&folder("samples").join(format!("{}.json", event.event_type)));
        let sample: serde_json::Value = serde_json::from_str(&text).expect("a sample is JSON");
        let schema = serde_json::to_value(&event.schema).expect("a schema serialises");
        let validator = jsonschema::validator_for(&schema).expect("the schema is a valid one");
        assert!(validator.is_valid(&sample), "{} does not fit its schema", event.event_type);
        let understood = (event.round_trip)(&text).unwrap_or_else(|error| panic!("{}: {error}", event.event_type));
        assert_eq!(understood, sample, "{} loses something", event.event_type);
    }
}

#[test]
fn a_reader_ignores_fields_it_does_not_know() {
    for event in catalog() {
        let text = read(&folder("samples").join(format!("{}.json", event.event_type)));
        let with_news = text.replacen('{', "{\"addedInAMinorVersion\": [1, 2],", 1);
        assert!((event.round_trip)(&with_news).is_ok(), "{} refuses additive changes", event.event_type);
    }
}

#[test]
fn no_schema_or_sample_is_left_over() {
    let known: BTreeSet<String> = catalog().iter().map(|event| format!("{}.json", event.event_type)).collect();
    for name in ["schemas", "samples"] {
        let files = std::fs::read_dir(folder(name)).expect("the folder exists");
        let found: BTreeSet<String> =
            files.map(|file| file.expect("readable").file_name().to_string_lossy().into_owned()).collect();
        assert_eq!(found, known, "{name}: a released event was removed or renamed, or a file does not belong there");
    }
}
