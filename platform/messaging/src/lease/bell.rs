//! How instances wake each other. Nothing depends on a ring arriving: leases are looked at and outboxes are read at
//! intervals anyway.
//!
//! PostgreSQL's `notify` makes commits of transactions that notify wait for one another, so it never stands in a
//! transaction that does anything else.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tracing::debug;

/// What there is to wake up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ring {
    /// A lease is free, or an instance has come or gone.
    Leases,
    /// Events were committed.
    Outbox,
}

impl Ring {
    fn channel(self, module: &str) -> String {
        match self {
            Self::Leases => format!("vostro.{module}.leases"),
            Self::Outbox => format!("vostro.{module}.outbox"),
        }
    }
}

/// Wakes every instance that listens, this one too. A ring that is lost is no harm, so the disk is not waited for.
pub(super) async fn ring(pool: &PgPool, module: &str, what: Ring) -> sqlx::Result<()> {
    sqlx::query!(
        r#"select set_config('synchronous_commit', 'off', true), pg_notify($1, '')::text"#,
        what.channel(module)
    )
    .fetch_one(pool)
    .await?;
    Ok(())
}

/// Calls `heard` for every ring, for ever. After a connection was lost it is called for both: something may have been
/// missed.
pub(super) async fn listen(pool: &PgPool, module: &str, heard: impl Fn(Ring)) {
    const PAUSE: Duration = Duration::from_secs(1);
    loop {
        if let Err(error) = listen_while_connected(pool, module, &heard).await {
            debug!(module, %error, "cannot hear other instances just now");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen_while_connected(pool: &PgPool, module: &str, heard: &impl Fn(Ring)) -> sqlx::Result<()> {
    let channels = [Ring::Leases, Ring::Outbox].map(|ring| (ring.channel(module), ring));
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen_all(channels.iter().map(|(channel, _)| channel.as_str())).await?;
    channels.iter().for_each(|(_, ring)| heard(*ring));
    while let Some(notification) = listener.try_recv().await? {
        channels.iter().filter(|(channel, _)| channel == notification.channel()).for_each(|(_, ring)| heard(*ring));
    }
    Ok(())
}
