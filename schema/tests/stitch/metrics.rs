//! What the engine tells about itself.

use serde_json::Value;
use vostro_kernel::Actor;

use crate::harness::Bank;

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
