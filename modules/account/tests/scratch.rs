use std::time::Instant;
use uuid::Uuid;
use vostro_account::{Accounts, Config, MIGRATIONS};
use vostro_events::auth::UserRegisteredV1;
use vostro_events::transaction::*;
use vostro_kernel::*;
use vostro_messaging::{Incoming, Module};
use vostro_testkit::{deliver, incoming, Database};

fn transfer(s: Uuid, d: Uuid, m: i64) -> Incoming {
    let e = TransactionInitiatedV1 { transaction_id: Uuid::now_v7(), kind: TransactionKind::Transfer,
        route: RouteV1 { source_account_id: s, destination_account_id: d, source_owner_id: Some(s), destination_owner_id: Some(d) },
        amount: Money::new(m, "EUR".parse().unwrap()), reference: Some("rent for November".into()) };
    let mut i = incoming(&e, 1);
    i.envelope.cause.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    i
}
fn cpu(pid: u32) -> f64 { let s = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap(); let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect(); (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0 }

#[tokio::test]
async fn measure() {
    let env = |n: &str, d: usize| std::env::var(n).ok().and_then(|v| v.parse().ok()).unwrap_or(d);
    let (n, size, rounds, hot) = (env("ACCOUNTS", 10000), env("SIZE", 500), env("ROUNDS", 60), env("HOT", 0));
    let db = Database::create("account", &MIGRATIONS).await;
    let a = Accounts::new(db.foundation(), Config::default()).unwrap();
    a.start().await.unwrap();
    let h = a.handlers();
    for c in 0..(n / 100) {
        let evs: Vec<_> = (0..100).map(|_| incoming(&UserRegisteredV1 { user_id: Uuid::now_v7(), sealed_contact: "x".into(), locale: "en".into(), roles: vec![Role::Customer] }, 1)).collect();
        deliver(db.pool(), &h[1].handler, &evs).await.unwrap();
        let _ = c;
    }
    let ids: Vec<Uuid> = sqlx::query_scalar("select account_id from account.balance where kind = 'CUSTOMER' order by 1").fetch_all(db.pool()).await.unwrap();
    let cash = vostro_account::domain::InternalRole::Cash.account_id("EUR".parse().unwrap());
    for c in ids.chunks(500) { let b: Vec<_> = c.iter().map(|i| transfer(cash, *i, 1_000_000)).collect(); deliver(db.pool(), &h[0].handler, &b).await.unwrap(); db.tamper("delete from outbox").await; }
    let mut x = 88172645463325252u64;
    let mut rnd = move |m: usize| { x ^= x << 13; x ^= x >> 7; x ^= x << 17; (x % m as u64) as usize };
    if env("ANALYZE", 1) == 1 { db.tamper("analyze").await; }
    let mut tx = db.pool().acquire().await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *tx).await.unwrap();
    if env("GENERIC", 0) == 1 { sqlx::query("set plan_cache_mode = force_generic_plan").execute(&mut *tx).await.unwrap(); }
    let (mut wall, mut n_ok, mut c_pg, mut c_me) = (0.0, 0usize, 0.0, 0.0);
    for r in 0..rounds + 5 {
        let b: Vec<_> = (0..size).map(|_| { let s = rnd(ids.len()); let mut d = rnd(ids.len()); if d == s { d = (d + 1) % ids.len(); } if hot == 1 && s != 0 { d = 0; } transfer(ids[s], ids[d], 1 + rnd(100) as i64) }).collect();
        let (p0, m0, t) = (cpu(pid as u32), cpu(std::process::id()), Instant::now());
        sqlx::query("begin").execute(&mut *tx).await.unwrap();
        h[0].handler.handle_in_tx(&mut tx, &b).await.unwrap().unwrap()();
        sqlx::query("commit").execute(&mut *tx).await.unwrap();
        if r >= 5 { wall += t.elapsed().as_secs_f64(); n_ok += size; c_pg += cpu(pid as u32) - p0; c_me += cpu(std::process::id()) - m0; }
        if r % 20 == 0 { db.tamper("truncate outbox").await; }
    }
    println!("accounts={n} size={size} hot={hot}: wall {:.0}/s, pg CPU {:.1} us/transfer ({:.0}/s), our CPU (debug) {:.1} us/transfer", n_ok as f64 / wall, c_pg * 1e6 / n_ok as f64, n_ok as f64 / c_pg, c_me * 1e6 / n_ok as f64);
    let t = Instant::now();
    let p = a.verify_ledger(|_| {}).await.unwrap();
    println!("proof {:?} in {:.2}s", p, t.elapsed().as_secs_f64());
    if env("KEEP", 0) == 1 { let n: String = sqlx::query_scalar("select current_database()").fetch_one(db.pool()).await.unwrap(); println!("db {n}"); std::mem::forget(db); }
}
