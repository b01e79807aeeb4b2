//! The benchmarks run. Their figures are for machines with nothing else to do.

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::support::World;

/// Small numbers: whether it works, not how fast.
const SMALL: [&str; 9] = ["bench", "messaging", "--json", "--events", "300", "--seconds", "1", "--backlog", "500"];

#[tokio::test(flavor = "multi_thread")]
async fn messaging_is_measured_on_servers_of_its_own_and_nothing_is_left_of_it() {
    let world = World::create().await;
    let (status, report) = world.json_command(&SMALL).await;
    assert!(status.success(), "{report}");
    for rate in ["barePublisher", "relay", "relayOneEventPerMessage"] {
        assert_eq!(report[rate]["events"], json!(300), "{rate}: {report}");
        assert!(report[rate]["eventsPerSecond"].as_u64() > Some(0), "{rate}: {report}");
    }
    assert_eq!(report["relayOneEventPerMessage"]["messages"], json!(300), "{report}");
    assert!(report["relay"]["messages"].as_u64() < Some(100), "frames hold many events: {report}");
    let batches = |consumer: &Value| (consumer["batch"].clone(), consumer["fullFrames"].clone());
    let consumers = report["consumers"].as_array().expect("a list");
    assert_eq!(
        consumers.iter().map(batches).collect::<Vec<_>>(),
        [(1, false), (50, false), (500, false), (500, true)].map(|(batch, full)| (json!(batch), json!(full)))
    );
    // One that opened the connection, and a tenth of 300.
    assert_eq!((&consumers[0]["effects"], &consumers[0]["commits"]), (&json!(31), &json!(31)), "one by one: {report}");
    for load in report["loads"].as_array().expect("a list") {
        assert!(load["endToEndMicros"]["count"].as_u64() > Some(0), "{load}");
        assert!(load["publishLagMicros"]["p99"].as_u64() <= load["publishLagMicros"]["max"].as_u64(), "{load}");
    }
    assert!(report["outage"]["backlog"].as_u64() >= Some(500), "what commands added is in it too: {report}");
    for part in ["Before", "During"] {
        let commands = &report["outage"][format!("commandMicros{part}")];
        assert!(commands["count"].as_u64() > Some(0), "commands go on without the broker: {report}");
    }
    let virtual_host = report["virtualHost"].as_str().expect("its name");
    assert!(
        !world.management().vhost_exists(virtual_host).await.expect("the broker answers"),
        "the virtual host is left"
    );
    let options = vostro::database::owner_options(&world.config.database).expect("a database URL");
    let mut connection = PgConnection::connect_with(&options).await.expect("the database server answers");
    let databases: i64 = sqlx::query_scalar("select count(*) from pg_database where datname = $1")
        .bind(report["database"].as_str().expect("its name"))
        .fetch_one(&mut connection)
        .await
        .expect("readable");
    assert_eq!(databases, 0, "the database is left");
}
