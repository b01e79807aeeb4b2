#![allow(clippy::unwrap_used, clippy::float_arithmetic)]
mod support;
use std::collections::VecDeque;
use std::time::Instant;
use support::*;
use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::account::*;
use vostro_events::notification::*;
use vostro_events::transaction::*;
use vostro_kernel::Money;
use vostro_messaging::Incoming;

fn cpu(pid: i32) -> u64 {
    std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap().split(' ').next().unwrap().parse().unwrap()
}

fn stream(transfers: usize, accounts: u128) -> Vec<Incoming> {
    let eur = "EUR".parse().unwrap();
    let mut rnd = 88172645463325252_u64;
    let mut next = move || {
        rnd ^= rnd << 13;
        rnd ^= rnd >> 7;
        rnd ^= rnd << 17;
        rnd
    };
    let mut seq = vec![0_i64; accounts as usize];
    let acct: Vec<(Uuid, Uuid)> =
        (0..accounts).map(|_| (Uuid::from_u64_pair(next(), next()), Uuid::from_u64_pair(next(), next()))).collect();
    let mut out = Vec::new();
    let mut pend: VecDeque<(usize, usize, usize, Uuid, Incoming)> = VecDeque::new();
    let none = BalanceV1 {
        posted_minor: 123456,
        pending_in_minor: 0,
        pending_out_minor: 0,
        locked_minor: 0,
        available_minor: 123456,
    };
    for i in 0..transfers + 40 {
        if i < transfers {
            let (a, b) = ((next() % accounts as u64) as usize, (next() % accounts as u64) as usize);
            let b = if a == b { (b + 1) % accounts as usize } else { b };
            let t = Uuid::now_v7();
            let route = RouteV1 {
                source_account_id: acct[a].0,
                destination_account_id: acct[b].0,
                source_owner_id: Some(acct[a].1),
                destination_owner_id: Some(acct[b].1),
            };
            let e = TransactionInitiatedV1 {
                transaction_id: t,
                kind: TransactionKind::Transfer,
                route,
                amount: Money::new(1250, eur),
                reference: Some("rent".into()),
            };
            let c = Cause {
                command: Some("transferCreate".into()),
                actor_kind: vostro_kernel::ActorKind::User,
                actor_id: Some(acct[a].1),
                ..cause()
            };
            let e = vostro_testkit::incoming_caused_by(&e, 1, c);
            out.push(e.clone());
            pend.push_back((i + 30, a, b, t, e));
        }
        while pend.front().is_some_and(|p| p.0 <= i) {
            let (_, a, b, t, e) = pend.pop_front().unwrap();
            for (x, d) in [(a, -1250), (b, 1250)] {
                seq[x] += 1;
                out.push(vostro_testkit::incoming_caused_by(
                    &BalanceChangedV1 {
                        account_id: acct[x].0,
                        owner_id: Some(acct[x].1),
                        currency: eur,
                        transaction_id: t,
                        delta_minor: d,
                        after: none,
                    },
                    seq[x],
                    Cause::event(&e.envelope),
                ));
            }
            let p = vostro_testkit::incoming_caused_by(
                &PostingAppliedV1 {
                    transaction_id: t,
                    currency: eur,
                    entries: vec![
                        PostedEntryV1 { account_id: acct[a].0, amount_minor: -1250, sequence: seq[a] },
                        PostedEntryV1 { account_id: acct[b].0, amount_minor: 1250, sequence: seq[b] },
                    ],
                    booked_at: chrono::Utc::now(),
                    booking_date: chrono::Utc::now().date_naive(),
                },
                1,
                Cause::event(&e.envelope),
            );
            let route = RouteV1 {
                source_account_id: acct[a].0,
                destination_account_id: acct[b].0,
                source_owner_id: Some(acct[a].1),
                destination_owner_id: Some(acct[b].1),
            };
            let q = vostro_testkit::incoming_caused_by(
                &TransactionCompletedV1 {
                    transaction_id: t,
                    kind: TransactionKind::Transfer,
                    route,
                    amount: Money::new(1250, eur),
                    reference: Some("rent".into()),
                    booked_at: chrono::Utc::now(),
                },
                2,
                Cause::event(&p.envelope),
            );
            out.push(p);
            for x in [a, b] {
                out.push(vostro_testkit::incoming_caused_by(
                    &NotificationSentV1 {
                        notification_id: Uuid::now_v7(),
                        user_id: acct[x].1,
                        topic: "PAYMENT_SENT".into(),
                        channel: Channel::InApp,
                        template: "payment-sent".into(),
                        locale: "en".into(),
                        source_event_id: q.envelope.id,
                        attempt: 1,
                    },
                    1,
                    Cause::event(&q.envelope),
                ));
            }
            out.push(q);
        }
    }
    out
}

#[tokio::test]
async fn bench() {
    let n: usize = std::env::var("N").unwrap_or("20000".into()).parse().unwrap();
    let size: usize = std::env::var("BATCH").unwrap_or("300".into()).parse().unwrap();
    let accounts: u128 = std::env::var("ACC").unwrap_or("10000".into()).parse().unwrap();
    let bank = Bank::open().await;
    let mut events = stream(n, accounts);
    if std::env::var("NOCOMP").is_ok() {
        events.retain(|e| !e.is("transaction.completed.v1"));
    }
    if let Ok(sql) = std::env::var("PRE") {
        bank.database.tamper(&sql).await;
    }
    let mut conn = bank.database.pool().acquire().await.unwrap();
    sqlx::query("set synchronous_commit = off").execute(&mut *conn).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *conn).await.unwrap();
    let lsn = "select pg_current_wal_insert_lsn()::text";
    let l0: String = sqlx::query_scalar(lsn).fetch_one(&mut *conn).await.unwrap();
    let (c0, t0, m0) = (cpu(pid), Instant::now(), cpu(std::process::id() as i32));
    for batch in events.chunks(size) {
        use sqlx::Connection as _;
        let mut tx = conn.begin().await.unwrap();
        let after = bank.archive.handle_in_tx(&mut tx, batch).await.unwrap();
        tx.commit().await.unwrap();
        if let Some(f) = after {
            f()
        }
    }
    let (c1, t1, m1) = (cpu(pid), t0.elapsed(), cpu(std::process::id() as i32));
    let wal: i64 = sqlx::query_scalar("select (pg_current_wal_insert_lsn() - $1::pg_lsn)::bigint")
        .bind(l0)
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    let k = events.len() as f64;
    let size_row: i64 =
        sqlx::query_scalar("select pg_total_relation_size('compliance.event')").fetch_one(&mut *conn).await.unwrap();
    println!(
        "events {} batch {size} accounts {accounts}: wall {:.2} us/event, pg cpu {:.2} us/event, client main thread cpu {:.2} us/event, wal {:.0} B/event, disk {:.0} B/event",
        k,
        t1.as_micros() as f64 / k,
        (c1 - c0) as f64 / 1e3 / k,
        (m1 - m0) as f64 / 1e3 / k,
        wal as f64 / k,
        size_row as f64 / k
    );
    for q in ["analyze"] {
        sqlx::query(q).execute(&mut *conn).await.unwrap();
    }
    let t = Instant::now();
    let p = bank.compliance.verify_audit(|_, _| {}).await.unwrap();
    println!("verify {} {:.0} events/s", p.ok(), k / t.elapsed().as_secs_f64());
    let (c0, mut after) = (cpu(pid), 0_i64);
    loop {
        let rows = sqlx::query("select position, occurred_at, recorded_at, sequence, event_id, aggregate_id, correlation_id, causation_id, actor_id, partition_key, subject_id, type as event_type, stream, actor_kind, outcome, command, code, hash, data from compliance.event where position > $1 order by position limit $2").bind(after).bind(5000_i64).fetch_all(&mut *conn).await.unwrap();
        use sqlx::Row as _;
        let Some(last) = rows.last() else { break };
        after = last.get(0);
    }
    println!("page read pg cpu {:.2} us/event", (cpu(pid) - c0) as f64 / 1e3 / k);
    if let Ok(sql) = std::env::var("SQL") {
        for q in sql.split(";;") {
            println!("--- {q}");
            for row in
                sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(q.to_owned())).fetch_all(&mut *conn).await.unwrap()
            {
                println!("{row}");
            }
        }
    }
}
