//! What the engine tells about itself.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tracing::Level;
use vostro_kernel::{Actor, Role};
use vostro_schema::door::TrustedDocuments;
use vostro_schema::stitch::Limits;

use crate::harness::{Bank, person, scope};

#[test]
fn operations_are_measured_by_root_field_and_outcome_and_never_by_a_clients_name() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bank = Bank::open();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            bank.ask("query Whatever9371 { hello }").await;
            bank.ask("query Another { me { id } }").await;
            bank.ask("{ hello accounts { id } }").await;
            bank.ask("{ __typename }").await;
            bank.ask_as(Actor::ANONYMOUS, "query($a: Int!) { hello(name: \"x\") broken @skip(if: false) accounts { entries(first: $a) { nodes { id } } } }", Value::Null).await;
            let errors = bank.engine.prepare("{", None).err().unwrap();
            bank.engine.record_refusal(std::time::Instant::now(), &errors);
        });
    });
    let text = recorder.handle().render();
    for label in [
        r#"operation="hello",outcome="ok""#,
        r#"operation="me",outcome="UNAUTHENTICATED""#,
        r#"operation="several",outcome="ok""#,
        r#"operation="several",outcome="BAD_USER_INPUT""#,
        r#"operation="introspection",outcome="ok""#,
        r#"operation="unknown",outcome="GRAPHQL_PARSE_FAILED""#,
    ] {
        assert!(text.contains(&format!("vostro_graphql_operation_seconds_count{{{label}}} 1")), "{label}: {text}");
    }
    assert!(!text.contains("Whatever9371"));
}

#[test]
fn operations_of_registered_documents_are_measured_by_client_and_name() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let document = "query Greeting { hello me { id } } query Other { hello }";
    let mut documents = TrustedDocuments::default();
    documents.register("app", vec![("greeting".to_owned(), document.to_owned())]).unwrap();
    let bank = Bank::built(|engine| engine.registered(documents.clients()));
    metrics::with_local_recorder(&recorder, || {
        for name in ["Greeting", "Other"] {
            let prepared = bank.engine.prepare(document, Some(name)).unwrap();
            runtime.block_on(bank.engine.execute(&prepared, Default::default(), scope(person(&[Role::Customer]))));
        }
    });
    let text = recorder.handle().render();
    for label in [r#"operation="app/Greeting",outcome="ok""#, r#"operation="app/Other",outcome="ok""#] {
        assert!(text.contains(&format!("vostro_graphql_operation_seconds_count{{{label}}} 1")), "{label}: {text}");
    }
}

#[test]
fn a_slow_operation_is_in_the_log_by_hash_without_its_text_or_variables() {
    let written = Written::default();
    // As banks log unless told otherwise; at TRACE the planner shows what it does.
    let subscriber = tracing_subscriber::fmt().with_max_level(Level::INFO).with_writer({
        let written = written.clone();
        move || written.clone()
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bank = Bank::with(Limits { slow: Duration::ZERO, ..Limits::default() });
    let document = "query Whatever9371($name: String) { secretly: hello(name: $name) }";
    tracing::subscriber::with_default(subscriber.finish(), || {
        let answer = runtime.block_on(bank.ask_as(Actor::ANONYMOUS, document, json!({"name": "Ada9371"})));
        assert_eq!(answer["data"]["secretly"], "hello Ada9371");
    });
    let log = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("a slow operation"), "{log}");
    assert!(log.contains(&*bank.engine.prepare(document, None).unwrap().id), "{log}");
    assert!(!log.contains("9371") && !log.contains("secretly"), "{log}");
}

/// What was logged.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn fields_modules_and_known_plans_are_counted() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        let bank = Bank::open();
        runtime.block_on(async {
            for _ in 0..3 {
                bank.ask("{ payments(first: 1) { id source { n: number ... on Account { owner { name } } } } }").await;
            }
        });
    });
    let text = recorder.handle().render();
    for line in [
        r#"vostro_graphql_field_uses_total{type="Query",field="payments"} 3"#,
        r#"vostro_graphql_field_uses_total{type="Account",field="number"} 3"#,
        r#"vostro_graphql_field_uses_total{type="User",field="name"} 3"#,
        r#"vostro_graphql_plans_total{result="miss"} 1"#,
        r#"vostro_graphql_plans_total{result="hit"} 2"#,
        r#"vostro_graphql_subgraph_seconds_count{module="payments",outcome="ok"} 3"#,
        r#"vostro_graphql_subgraph_seconds_count{module="accounts",outcome="ok"} 3"#,
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}
