//! What has to be true after everything: what people were promised, what the ledger says, what every subscriber has made
//! of the events, and what the event store has, are the same.

use std::collections::BTreeMap;

use uuid::Uuid;
use vostro::app;
use vostro_messaging::{EventSelector, InboxMode};

use crate::failure::instances::order_held;
use crate::failure::projections::compared;
use crate::support::{World, eventually};

use super::traffic::Promises;

pub async fn everything_adds_up(world: &World, promises: &Promises, scheduled: &[Uuid]) {
    settled(world).await;
    promises_are_kept(world, promises).await;
    for (what, query) in RULES {
        assert_eq!(world.count(query).await, 0, "{what}");
    }
    inboxes_are_what_the_event_store_has(world).await;
    order_held(world).await;
    scheduled_once(world, scheduled).await;
    for known in app::projections(&world.config).expect("the modules can be built") {
        let (equal, report) = compared(world, &known.name()).await;
        assert!(equal, "{} is not what the events say: {report}", known.name());
    }
    world.leaves_nothing_behind().await;
}

/// Waits until every payment has ended and everybody has heard of it.
async fn settled(world: &World) {
    world.everything_is_released().await;
    for (what, open) in [
        ("every payment has ended", "select count(*) from transaction.transaction where status = 'INITIATED'"),
        ("every statement is ready", "select count(*) from account.statement where status = 'PREPARING'"),
        ("nothing is scheduled any more", SCHEDULED),
    ] {
        eventually(what, || async { (world.count(open).await == 0).then_some(()) }).await;
    }
    world.proofs_hold().await;
    world.leaves_nothing_behind().await;
    for (what, missing) in ARRIVING {
        eventually(what, || async { (world.count(missing).await == 0).then_some(()) }).await;
    }
}

/// The terms for which statements are kept are longer than anybody waits here.
const SCHEDULED: &str = "select (select count(*) from auth.scheduled_event)
    + (select count(*) from account.scheduled_event where purpose <> 'statement-term')
    + (select count(*) from transaction.scheduled_event) + (select count(*) from notification.scheduled_event)
    + (select count(*) from compliance.scheduled_event)";

/// How many are missing or too many, which is none in the end.
const ARRIVING: &[(&str, &str)] = &[
    (
        "the event store has the beginning and the one end of every payment",
        "select count(*) from transaction.transaction t
         where (select array_agg(y.name order by e.sequence) from compliance.event e
                join compliance.event_type y on y.code = e.type
                where e.aggregate_id = t.id and y.name like 'transaction.%')
             is distinct from array['transaction.initiated.v1', 'transaction.' || lower(t.status) || '.v1']",
    ),
    (
        "the event store has what the ledger booked",
        "select abs((select count(*) from account.posting) - (select count(*) from compliance.event e
            join compliance.event_type y on y.code = e.type
            where y.name in ('account.posting-applied.v1', 'account.posting-rejected.v1')))",
    ),
    (
        "both sides of each payment are told once, and nobody else",
        "select abs((select coalesce(sum((source_owner_id is not null)::int + (destination_owner_id is not null)::int), 0)
             from transaction.transaction where status = 'COMPLETED')
           - (select count(distinct (n.source_event_id, n.user_id, n.topic)) from notification.notification n
              join compliance.event e on e.event_id = n.source_event_id join compliance.event_type y on y.code = e.type
              where y.name = 'transaction.completed.v1'))::bigint",
    ),
    (
        "everybody who registered has the one account that comes with it",
        "select count(*) from compliance.event e join compliance.event_type y on y.code = e.type
         where y.name = 'auth.user-registered.v1' and jsonb_exists(e.data::jsonb -> 'roles', 'CUSTOMER')
           and (select count(*) from account.account a where a.owner_id = e.aggregate_id) <> 1",
    ),
];

/// How often a rule is broken.
const RULES: &[(&str, &str)] = &[
    (
        "statements that nobody will ever delete, and ends of terms that are about none",
        "select count(*) from (select id from account.statement where status = 'READY') s
         full join (select subject from account.scheduled_event where purpose = 'statement-term') t on t.subject = s.id
         where s.id is null or t.subject is null",
    ),
    (
        "currencies whose entries do not add up to nothing",
        "select count(*) from (select from account.entry group by currency having sum(amount) <> 0) broken",
    ),
    (
        "balances that are not the sum of their entries",
        "select count(*) from account.balance b where b.posted <>
            (select coalesce(sum(amount), 0) from account.entry e where e.account_id = b.account_id)",
    ),
    (
        "completed payments that are not booked exactly once, and failed ones that are booked",
        "select count(*) from transaction.transaction t
         where (select count(*) from account.entry e where e.transaction_id = t.id)
             <> case t.status when 'COMPLETED' then 2 else 0 end",
    ),
    (
        "bookings of payments that nobody asked for",
        "select count(*) from account.posting p
         where not exists (select from transaction.transaction t where t.id = p.transaction_id)",
    ),
    (
        "keys that stand for two payments",
        "select count(*) from (select from transaction.transaction
            group by initiator_id, idempotency_key having count(*) > 1) broken",
    ),
    (
        "notifications of one event about one thing to one person on one channel that were made twice",
        "select count(*) from (select from notification.notification
            group by source_event_id, user_id, account_id, topic, channel having count(*) > 1) broken",
    ),
    (
        "events that were counted differently from how often they are archived",
        "select count(*) from compliance.event_count c
         where c.count <> (select count(*) from compliance.event e where e.type = c.type)",
    ),
    (
        "events that are archived twice",
        "select count(*) from (select from compliance.event group by event_id having count(*) > 1) broken",
    ),
];

/// Whatever was accepted exists once, under its key; whatever was refused does not; nothing exists that nobody asked for.
async fn promises_are_kept(world: &World, promises: &Promises) {
    let pool = world.pool().await;
    let asked_for = "select idempotency_key, id from transaction.transaction where idempotency_key !~ '^funds-'";
    let rows: Vec<(String, Uuid)> = sqlx::query_as(asked_for).fetch_all(&pool).await.expect("read");
    let kept: BTreeMap<String, String> = rows.into_iter().map(|(key, id)| (key, format!("txn_{id}"))).collect();
    assert_eq!(kept, promises.accepted, "what exists and what was promised differ");
    let broken = kept.keys().find(|key| promises.refused.contains(*key));
    assert_eq!(broken, None, "refused, and yet it exists");

    let uuids = |ids: &mut dyn Iterator<Item = &String>| -> Vec<Uuid> {
        ids.map(|id| id.split_once('_').expect("a prefix").1.parse().expect("an id")).collect()
    };
    let unread: i64 =
        sqlx::query_scalar("select count(*) from notification.notification where id = any($1) and read_at is null")
            .bind(uuids(&mut promises.read.iter()))
            .fetch_one(&pool)
            .await
            .expect("counted");
    assert_eq!(unread, 0, "marked as read, and unread again");
    let unknown: i64 = sqlx::query_scalar(
        "select count(*) from unnest($1::uuid[]) id where not exists (select from auth.user_account u where u.id = id)",
    )
    .bind(uuids(&mut promises.registered.iter()))
    .fetch_one(&pool)
    .await
    .expect("counted");
    assert_eq!(unknown, 0, "registered, and unknown");
    pool.close().await;
}

/// Where an inbox has a row for every event, these are the events of the event store that the subscription takes: none is
/// missing, none is there that never was.
async fn inboxes_are_what_the_event_store_has(world: &World) {
    for subscription in app::manifests().into_iter().flat_map(|manifest| manifest.subscribes) {
        let (InboxMode::Rows, EventSelector::Types(types)) = (subscription.inbox, subscription.events) else {
            continue;
        };
        let (module, group) = (subscription.module, subscription.group());
        let types = types.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        let differ = format!(
            "with handled as (select event_id from {module}.inbox where subscription = '{group}'),
                  happened as (select e.event_id from compliance.event e
                               join compliance.event_type y on y.code = e.type where y.name in ({types}))
             select (select count(*) from (table handled except table happened) too_many)
                  + (select count(*) from (table happened except table handled) missing)"
        );
        eventually(&format!("{group} has handled what happened, and nothing else"), || async {
            (world.count(&differ).await == 0).then_some(())
        })
        .await;
    }
}

async fn scheduled_once(world: &World, scheduled: &[Uuid]) {
    for id in scheduled {
        let archived = format!("select count(*) from compliance.event where event_id = '{id}'");
        eventually("what was scheduled is published once", || async {
            (world.count(&archived).await == 1).then_some(())
        })
        .await;
    }
}
