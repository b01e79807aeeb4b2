//! The benchmarks run. Their figures are for machines with nothing else to do.

use std::process::Stdio;

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncBufReadExt as _, BufReader};

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
    assert!(report["outage"]["effects"].as_u64() >= report["outage"]["backlog"].as_u64(), "one an event: {report}");
    for part in ["Before", "During"] {
        let commands = &report["outage"][format!("commandMicros{part}")];
        assert!(commands["count"].as_u64() > Some(0), "commands go on without the broker: {report}");
    }
    nothing_is_left(&world, &report["database"], &report["virtualHost"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_measurement_that_is_interrupted_leaves_nothing_either() {
    let world = World::create().await;
    let mut measuring = tokio::process::Command::from(world.command(&SMALL))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the bank's program can be started");
    let mut said = BufReader::new(measuring.stderr.take().expect("piped")).lines();
    let names = loop {
        let line = said.next_line().await.expect("readable").expect("it says where it measures");
        if line.contains("which are removed in the end") {
            break line;
        }
    };
    let name = |sign: char| names.split([' ', ',']).find(|word| word.starts_with(&format!("vostro{sign}bench{sign}")));
    let (database, virtual_host) = (name('_').expect("a database"), name('-').expect("a virtual host"));
    // Something is being measured.
    said.next_line().await.expect("readable").expect("it goes on");
    let id = measuring.id().expect("it runs").to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().expect("kill(1)").success());
    let ended = measuring.wait().await.expect("it ends");
    assert!(ended.code().is_some_and(|code| code != 0), "{ended}");
    nothing_is_left(&world, &json!(database), &json!(virtual_host)).await;
}

/// Small numbers again, and fewer subscribers than any shell forbids.
const SMALL_DOOR: [&str; 11] =
    ["bench", "graphql", "--json", "--subscribers", "40", "--events", "4", "--rounds", "10", "--reads", "16"];

#[tokio::test(flavor = "multi_thread")]
async fn the_graphql_door_is_measured_and_every_subscriber_is_told_everything() {
    let world = World::create().await;
    let (status, report) = world.json_command(&SMALL_DOOR).await;
    assert!(status.success(), "{report}");
    assert_eq!(report["fanOut"]["delivered"], json!(160), "each event at each subscriber: {report}");
    assert_eq!(report["fanOut"]["micros"]["count"], json!(160), "{report}");
    assert_eq!(report["fanOut"]["firstMicros"]["count"], json!(4), "{report}");
    assert_eq!(report["fanOut"]["bare"]["micros"]["count"], json!(160), "{report}");
    assert_eq!(report["stitching"]["modules"], json!(3), "{report}");
    for (part, figure) in [
        ("stitching", "stitchedMicros"),
        ("stitching", "directMicros"),
        ("stitching", "overheadMicros"),
        ("singleModule", "engineMicros"),
        ("singleModule", "plainMicros"),
        ("coldPlan", "micros"),
    ] {
        assert_eq!(report[part][figure]["count"], json!(10), "{part} {figure}: {report}");
    }
    assert!(
        report["stitching"]["overheadMicros"]["max"].as_u64() <= report["stitching"]["stitchedMicros"]["max"].as_u64(),
        "a part is no more than the whole: {report}"
    );
    let hostile = report["hostile"].as_array().expect("a list");
    assert!(hostile.len() > 10, "{report}");
    for class in hostile {
        assert!(class["bytes"].as_u64() <= Some(1024), "{class}");
        assert_eq!(
            (&class["engineMicros"]["count"], &class["doorMicros"]["count"]),
            (&json!(10), &json!(10)),
            "{class}"
        );
    }
    assert_eq!(report["reads"]["micros"]["count"], json!(16), "{report}");
    assert!(report["reads"]["plans"]["hits"].as_u64() > Some(0), "the same documents come again: {report}");
    let entities = &report["reads"]["entities"];
    assert!(entities.is_null() || entities["hits"].is_u64(), "tokens are no entities: {report}");
    for goal in report["goals"].as_array().expect("a list") {
        assert!(goal["isReached"].is_boolean() && goal["measured"].is_string(), "{goal}");
    }
    world.proofs_hold().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_subscribers_than_files_may_be_open_are_refused_with_what_to_do() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let program = world.command(&["bench", "graphql", "--subscribers", "1000", "--rounds", "10", "--reads", "8"]);
    // Enough for everything but the subscribers.
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 512 && exec \"$0\" \"$@\""]).arg(program.get_program()).args(program.get_args());
    let ended =
        tokio::task::spawn_blocking(move || limited.output()).await.expect("joined").expect("it can be started");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success(), "{said}");
    assert!(said.contains("may have 512 files open") && said.contains("ulimit -n 1300"), "{said}");
}

async fn nothing_is_left(world: &World, database: &Value, virtual_host: &Value) {
    let virtual_host = virtual_host.as_str().expect("its name");
    assert!(
        !world.management().vhost_exists(virtual_host).await.expect("the broker answers"),
        "the virtual host is left"
    );
    let options = vostro::database::owner_options(&world.config.database).expect("a database URL");
    let mut connection = PgConnection::connect_with(&options).await.expect("the database server answers");
    let databases: i64 = sqlx::query_scalar("select count(*) from pg_database where datname = $1")
        .bind(database.as_str().expect("its name"))
        .fetch_one(&mut connection)
        .await
        .expect("readable");
    assert_eq!(databases, 0, "the database is left");
}
