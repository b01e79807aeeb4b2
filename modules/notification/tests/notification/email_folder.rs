use uuid::Uuid;
use vostro_events::notification::NotificationDeliveredV1;
use vostro_messaging::{ContactKey, Module as _};
use vostro_notification::{Config, EmailConfig, Notifications};

use crate::support::*;

fn files(bench: &Bench) -> Vec<String> {
    let entries = bench.folder.read_dir().expect("the folder");
    let mut names =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect::<Vec<_>>();
    names.sort();
    names
}

#[tokio::test]
async fn without_a_mail_server_mails_are_complete_files_named_after_the_notification() {
    let bench = Bench::new().await;
    bench.consume(&[bench.registered_in(Uuid::now_v7(), "cs")]).await;
    assert_eq!(bench.send().await, 1);
    let delivered = bench.database.published(NotificationDeliveredV1::TYPE).await;
    assert_eq!(delivered[0]["receipt"], "folder");
    let id = delivered[0]["notificationId"].as_str().expect("an id");
    assert_eq!(files(&bench), [format!("{id}.eml")]);
    let text = std::fs::read_to_string(bench.folder.join(format!("{id}.eml"))).expect("the mail");
    assert!(text.contains("multipart/alternative") && text.contains(EMAIL), "{text}");
    assert!(text.contains(&format!("Message-ID: <{id}@vostro.example>")), "{text}");
}

#[tokio::test]
async fn sending_again_replaces_the_file() {
    let bench = Bench::new().await;
    bench.consume(&[bench.registered(Uuid::now_v7())]).await;
    bench.send().await;
    let before = files(&bench);
    // As if the process had ended between handing over and writing it down.
    bench
        .database
        .tamper(
            "insert into notification.email (notification_id, user_id, due_at, queued_at, correlation_id, actor_kind)
             select id, user_id, created_at, created_at, id, 'SYSTEM' from notification.notification
             where channel = 'EMAIL'",
        )
        .await;
    assert_eq!(bench.send().await, 1);
    assert_eq!(files(&bench), before);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_delays_mail() {
    let bench = Bench::new().await;
    std::fs::remove_dir(&bench.folder).expect("an empty folder");
    bench.consume(&[bench.registered(Uuid::now_v7())]).await;
    bench.send().await;
    assert_eq!(bench.email().await, ("RETRYING".into(), None));
    bench.module.start().await.expect("the folder is made again");
    bench.advance(10);
    bench.send().await;
    assert_eq!(bench.email().await.0, "DELIVERED");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_keeps_the_module_from_starting() {
    let bench = Bench::new().await;
    let file = bench.folder.join("occupied");
    std::fs::write(&file, "not a folder").expect("a file");
    let config = Config { email: EmailConfig { folder: file, ..EmailConfig::default() }, ..Config::default() };
    let key = std::sync::Arc::new(ContactKey::derive("secret"));
    let module = Notifications::new(bench.database.foundation(), config, key).expect("a valid configuration");
    let error = module.start().await.expect_err("occupied");
    assert!(error.to_string().contains("occupied"), "{error}");
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_the_keys_name() {
    let bench = Bench::new().await;
    let config = Config { default_locale: "xx".into(), ..Config::default() };
    let key = std::sync::Arc::new(ContactKey::derive("secret"));
    let error = Notifications::new(bench.database.foundation(), config, key).err().expect("refused");
    assert!(error.to_string().contains("default_locale"), "{error}");
}
