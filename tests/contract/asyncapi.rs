//! The AsyncAPI documents: fresh, valid, and complete.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use vostro::app;
use vostro::asyncapi::documents;

const OFFICIAL: &str = include_str!("asyncapi-3.1.0.schema.json");

fn parsed() -> Vec<(&'static str, Value)> {
    let documents = documents(&app::manifests()).into_iter();
    documents.map(|(module, text)| (module, serde_json::from_str(&text).expect("JSON"))).collect()
}

fn validator() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(OFFICIAL).expect("JSON");
    jsonschema::validator_for(&schema).expect("the official schema can be used")
}

#[test]
fn the_committed_documents_are_what_the_manifests_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/asyncapi");
    let generated = documents(&app::manifests());
    for (module, text) in &generated {
        let path = folder.join(format!("{module}.json"));
        let committed = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(&committed, text, "{} is stale: run `make gen`", path.display());
    }
    let files = std::fs::read_dir(&folder).expect("the folder exists").count();
    assert_eq!(files, generated.len(), "a document of a module that does not exist");
}

#[test]
fn every_document_is_valid_by_the_official_schema() {
    let validator = validator();
    for (module, document) in parsed() {
        let errors: Vec<String> =
            validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{module}: {errors:#?}");
    }
}

#[test]
fn a_document_that_breaks_the_rules_is_caught() {
    let validator = validator();
    let (_, document) = parsed().remove(1);
    for (pointer, broken) in [
        ("/asyncapi", Value::from("2.6.0")),
        ("/info/title", Value::Null),
        ("/operations/publish-account.account-created.v1/action", Value::from("shout")),
        ("/channels/account.account-created.v1/bindings/amqp/is", Value::from("sometimes")),
        ("/channels/account.account-created.v1/bindings/amqp/exchange/type", Value::from("carrier-pigeon")),
        ("/channels/q.account.postings/bindings/amqp/queue/durable", Value::from("yes")),
        ("/operations/answer-account.posting-decisions.v1/reply/address/location", Value::from("somewhere")),
        ("/channels/rpc.reply/bindings/amqp/is", Value::from("sometimes")),
    ] {
        let mut document = document.clone();
        *document.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is not in the document")) = broken;
        assert!(!validator.is_valid(&document), "{pointer}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    for (module, document) in parsed() {
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 10, "{module}");
        for reference in references {
            match reference.strip_prefix('#') {
                Some(pointer) => assert!(document.pointer(pointer).is_some(), "{module}: {reference}"),
                None => {
                    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/asyncapi");
                    assert!(folder.join(&reference).is_file(), "{module}: {reference}");
                }
            }
        }
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| collect(field, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

#[test]
fn what_is_sent_and_received_is_what_the_manifests_say() {
    for (manifest, (_, document)) in app::manifests().iter().zip(parsed()) {
        let of = |action: &str| {
            let operations = document["operations"].as_object().expect("operations").values();
            operations
                .filter(|operation| operation["action"] == action && operation["reply"].is_null())
                .flat_map(|operation| operation["messages"].as_array().expect("messages").clone())
                .map(|message| {
                    message["$ref"].as_str().and_then(|text| text.rsplit('/').next()).unwrap_or_default().to_owned()
                })
                .collect::<BTreeSet<_>>()
        };
        let sent: BTreeSet<_> = manifest.publishes.iter().map(|event_type| (*event_type).to_owned()).collect();
        assert_eq!(of("send"), sent, "{}", manifest.module);
        let received = vostro_events::catalog()
            .into_iter()
            .map(|event| event.event_type)
            .filter(|event_type| manifest.subscribes.iter().any(|subscription| subscription.takes(event_type)));
        assert_eq!(of("receive"), received.map(str::to_owned).collect(), "{}", manifest.module);
    }
}

#[test]
fn what_is_asked_and_answered_is_what_the_manifests_say() {
    for (manifest, (_, document)) in app::manifests().iter().zip(parsed()) {
        let of = |action: &str| {
            let operations = document["operations"].as_object().expect("operations").values();
            let with_reply =
                operations.filter(|operation| operation["action"] == action && operation["reply"].is_object());
            let question = |operation: &Value| {
                let message = operation["messages"][0]["$ref"].as_str().expect("a reference").to_owned();
                message.rsplit('/').next().unwrap_or_default().to_owned()
            };
            with_reply.map(question).collect::<BTreeSet<_>>()
        };
        let named = |queries: &[&str]| queries.iter().map(|query| (*query).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(of("send"), named(manifest.calls), "{}", manifest.module);
        assert_eq!(of("receive"), named(manifest.serves), "{}", manifest.module);
    }
}

#[test]
fn every_exchange_and_queue_of_the_documents_is_in_the_topology() {
    let topology = vostro_rabbitmq::Topology::of(&app::manifests()).expect("the manifests agree");
    let mut seen = 0;
    for (module, document) in parsed() {
        for (name, channel) in document["channels"].as_object().expect("channels") {
            let amqp = &channel["bindings"]["amqp"];
            if let Some(queue) = amqp["queue"]["name"].as_str() {
                assert!(topology.queues.contains_key(queue), "{module}: {name}");
            } else {
                let exchange = topology.exchanges.get(amqp["exchange"]["name"].as_str().expect("an exchange"));
                let kind = exchange.map(|exchange| exchange.kind.as_str());
                assert_eq!(kind, amqp["exchange"]["type"].as_str(), "{module}: {name}");
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

/// Whatever implements `Query` in the published language, and the claims, by the constants that name them.
fn questions_in_code() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("events/src/query");
    let files = std::fs::read_dir(folder).expect("the folder exists").map(|entry| entry.expect("readable").path());
    let texts = files.map(|path| std::fs::read_to_string(path).expect("readable"));
    texts.flat_map(|text| types_in(&text)).collect()
}

fn types_in(text: &str) -> Vec<String> {
    let implementations = text.split("impl Query for ").skip(1);
    let types = implementations.filter_map(|text| text.split_once("const TYPE:").map(|(_, text)| text));
    let claims = text.split("pub const CLAIM:").skip(1);
    types.chain(claims).filter_map(|text| text.split('"').nth(1).map(str::to_owned)).collect()
}

#[test]
fn a_question_is_found_in_code() {
    let text = "impl Query for AskV1 {\n    const TYPE: &'static str = \"auth.ask.v1\";\n}\nimpl Query for B { const TYPE: &str = \"b\"; }\npub const CLAIM: &str = \"auth.claim.v1\";";
    assert_eq!(types_in(text), ["auth.ask.v1", "b", "auth.claim.v1"]);
}

#[test]
fn every_question_in_code_is_in_the_documents_of_its_callee_and_of_its_callers() {
    let in_code = questions_in_code();
    assert!(in_code.len() > 1, "{in_code:?}");
    let documented = |prefix: &str| {
        let operations = parsed().into_iter().flat_map(|(_, document)| {
            document["operations"].as_object().expect("operations").keys().cloned().collect::<Vec<_>>()
        });
        operations.filter_map(|name| name.strip_prefix(prefix).map(str::to_owned)).collect::<BTreeSet<_>>()
    };
    assert_eq!(documented("answer-"), in_code, "each is answered by a module");
    assert_eq!(documented("ask-"), in_code, "each is asked by a module");
}
