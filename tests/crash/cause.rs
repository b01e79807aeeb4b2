//! What has to be done for places to be passed that everyday traffic does not pass.

use std::convert::Infallible;
use std::time::Duration;

use chrono::Utc;
use lapin::BasicProperties;
use serde_json::json;
use uuid::Uuid;
use vostro::app;
use vostro_events::Cause;
use vostro_events::command::CommandRefusedV1;
use vostro_kernel::{RequestContext, SystemIds};
use vostro_messaging::{Appointment, Schedule, ScheduledEvent};

use crate::failure::messages::{channel, publish};
use crate::failure::parking::{as_operator, statement};
use crate::failure::statements::GENERATE;
use crate::support::{Person, World, eventually};

/// A subscription whose handler can be made to fail for transfers of 6.66, as a defect would.
pub struct Breakable {
    pub group: &'static str,
    table: &'static str,
    event: &'static str,
    condition: &'static str,
}

pub const BREAKABLE: &[Breakable] = &[
    Breakable { group: "account.postings", table: "entry", event: "insert", condition: "abs(new.amount) = 666" },
    Breakable {
        group: "transaction.postings",
        table: "transaction",
        event: "update",
        condition: "new.amount_minor = 666",
    },
    Breakable {
        group: "notification.business-events",
        table: "notification",
        event: "insert",
        condition: "new.message::text ~ '6[.]?66'",
    },
];

impl Breakable {
    pub fn called(group: &str) -> &'static Self {
        BREAKABLE.iter().find(|breakable| breakable.group == group).expect("one that can be broken")
    }

    pub fn in_module(module: &str) -> &'static Self {
        BREAKABLE.iter().find(|breakable| breakable.module() == module).expect("a module with one that can be broken")
    }

    pub fn module(&self) -> &'static str {
        self.group.split('.').next().unwrap_or_default()
    }

    pub async fn break_down(&self, world: &World) {
        let Self { table, event, condition, .. } = self;
        let module = self.module();
        let sql = format!(
            "create or replace function {module}.break_down() returns trigger language plpgsql as $$
             begin
                 if {condition} then raise exception 'something is broken'; end if;
                 return new;
             end $$;
             create trigger broken before {event} on {module}.{table}
             for each row execute function {module}.break_down();"
        );
        statement(world, &sql).await;
    }

    /// What is mended already stays so.
    pub async fn mend(&self, world: &World) {
        statement(world, &format!("drop trigger if exists broken on {}.{}", self.module(), self.table)).await;
    }

    /// Waits until something is parked.
    pub async fn has_parked(&self, world: &World) {
        let parked =
            format!("select count(*) from {}.parked_message where subscription = '{}'", self.module(), self.group);
        eventually(&format!("{} parks what it cannot handle", self.group), || async {
            (world.count(&parked).await > 0).then_some(())
        })
        .await;
    }
}

/// A parked key belongs to the attempt that the crash cut off for another minute and a half. Operators need not wait, and a
/// rebuild, which stands on the archive, does not wait for so long.
pub async fn redrive(world: &World) {
    for group in BREAKABLE.iter().map(|breakable| breakable.group).chain(["compliance.archive"]) {
        let redrive = ["parked", "redrive", "--subscription", group];
        as_operator(world, &redrive, "operator@bank.example").await.expect("redriven, or nothing to redrive");
    }
}

/// Puts something onto the subscription's queue that is no message at all.
pub async fn send_garbage(world: &World, group: &str) {
    let (_connection, channel) = channel(world).await;
    let garbage = BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
    publish(&channel, "", &format!("q.{group}"), garbage, format!("not JSON {}", Uuid::now_v7()).as_bytes()).await;
}

/// Waits until the subscription has quarantined the garbage, which it must have done once, and has operators discard it.
pub async fn discard_garbage(world: &World, group: &str) {
    let parked = eventually(&format!("{group} keeps the garbage"), || async {
        garbage(world, &["--subscription", group]).await.filter(|ids| !ids.is_empty())
    })
    .await;
    assert_eq!(parked.len(), 1, "{group} keeps the garbage once");
    discard(world, &parked[0]).await;
}

/// Has operators discard garbage for as long as nobody drops this. What they have discarded comes once more when the crash
/// kept the dead-letter queue from hearing that it is kept: nothing but its bytes would say that it is the same.
pub async fn keep_discarding_garbage(world: &World) -> Infallible {
    loop {
        for id in garbage(world, &[]).await.into_iter().flatten() {
            discard(world, &id).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// The ids of what subscriptions keep and cannot read.
async fn garbage(world: &World, of: &[&str]) -> Option<Vec<String>> {
    let (_, parked) = world.json_command(&[&["parked", "list", "--json"], of].concat()).await;
    let unreadable = parked.as_array()?.iter().filter(|message| message["reasonCode"] == "UNDECODABLE");
    unreadable.map(|message| message["id"].as_str().map(str::to_owned)).collect()
}

async fn discard(world: &World, id: &str) {
    let discard = ["parked", "discard", id, "--reason", "garbage of a test"];
    let discarded = as_operator(world, &discard, "operator@bank.example").await.expect("discarded or asked for");
    if let Some(request) = discarded["requestId"].as_str() {
        as_operator(world, &["parked", "approve", request], "admin@bank.example").await.expect("agreed");
    }
}

/// Asks for the statement of a month under a key, again and again, as somebody does who gets no answer because the bank is
/// down. The statement of a month is written once, so each crash needs a month of its own.
pub async fn keep_asking_for_a_statement(person: &Person, key: &str, month: u32) -> Infallible {
    let input = json!({"input": {
        "idempotencyKey": key, "accountId": person.account,
        "from": format!("2024-{month:02}-01"), "to": format!("2024-{month:02}-28")}});
    loop {
        if let Some(mut connection) = person.try_connection().await {
            let _ = connection.data(GENERATE, input.clone()).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Schedules an event of the module for now and returns its id.
pub async fn schedule(world: &World, module: &str) -> Uuid {
    let (module, foundation) = app::foundation_for_commands(&world.config, module).expect("a module");
    let command_id = foundation.ids.next();
    let event = CommandRefusedV1 {
        module: module.to_owned(),
        command_id,
        command: "scheduledByATest".to_owned(),
        code: "TEST".to_owned(),
        subject_id: None,
    };
    let cause = Cause::command(&RequestContext::system(&SystemIds), "scheduledByATest");
    let id = foundation.ids.next();
    let appointment = Appointment { purpose: "crash-test", subject: command_id };
    let mut transaction = foundation.begin().await.expect("the database answers");
    let event = ScheduledEvent::new(id, appointment, Utc::now(), cause, &event);
    Schedule::add_in_tx(&mut transaction, event).await.expect("scheduled");
    transaction.commit().await.expect("committed");
    foundation.pool.close().await;
    id
}
