use std::io;
use std::sync::{Arc, Mutex};

use tracing::Level;
use uuid::Uuid;
use vostro_events::notification::Channel;
use vostro_notification::domain::Topic;

use crate::smtp_sink::{Reaction, SmtpSink};
use crate::support::*;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything the module does with a person, on the happy way and on every other, and then a search for the person's
/// name and address in the logs, in every table and in every event.
#[tokio::test]
async fn a_persons_name_and_address_are_nowhere_but_in_the_mail() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(Level::TRACE).with_writer({
        let log = log.clone();
        move || log.clone()
    });
    let _guard = tracing::subscriber::set_default(subscriber.finish());

    // The sink names the address in its refusals, as mail servers do.
    let reactions = [Reaction::AtRecipient(550), Reaction::AfterText(451), Reaction::HangUp];
    let sink = SmtpSink::start(&reactions).await;
    let bench = Bench::with_smtp(sink.port).await;
    for _ in 0..3 {
        bench.consume(&[bench.registered(Uuid::now_v7())]).await;
        bench.send().await;
    }
    let user = Uuid::now_v7();
    bench.module.preferences_update(&as_user(user), Topic::PaymentSent, Channel::Email, true).await.expect("chosen");
    let account = account_opened(Uuid::now_v7(), user);
    bench.consume(&[bench.registered(user), account, transfer(user, Uuid::now_v7()), logged_in(user)]).await;
    for _ in 0..4 {
        bench.send().await;
        bench.advance(60);
    }
    for notification in bench.list(user).await {
        let _ = bench.module.mark_read(&as_user(user), notification.id).await;
    }
    assert!(sink.accepted().iter().any(|mail| mail.text.contains(NAME)), "the mail itself does name the person");

    let logged = String::from_utf8(log.0.lock().expect("unpoisoned").clone()).expect("UTF-8");
    assert!(logged.contains("refused for good"), "the log was captured: {logged}");
    let mut places = vec![("the log".to_owned(), logged)];
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'notification'")
            .fetch_all(bench.database.pool())
            .await
            .expect("the tables");
    assert!(tables.len() >= 8, "{tables:?}");
    for table in tables {
        let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "select row_to_json(t)::text || case when '{table}' = 'outbox'
                 then convert_from((to_jsonb(t)->>'event')::bytea, 'UTF8') else '' end from notification.{table} t"
        )))
        .fetch_all(bench.database.pool())
        .await
        .expect("the rows");
        places.push((table, rows.concat()));
    }
    let (_, outbox) = places.iter().find(|(place, _)| place == "outbox").expect("the outbox");
    assert!(outbox.contains("notification.sent.v1"), "events are searched in clear");
    for (place, text) in places {
        for secret in [NAME, "Lovelace", EMAIL, "people.example", "Turing", "145399"] {
            assert!(!text.contains(secret), "{place} holds {secret}");
        }
    }
}
