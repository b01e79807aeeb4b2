//! Projections are rebuilt, and events published once more, from compliance's archive: it has every event of every module
//! once, in the order of arrival, in the bytes of its producer, and a chain that shows whether anybody changed one.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use vostro_compliance::{ArchivePoint, Compliance};
use vostro_messaging::maintenance::EventArchive;
use vostro_messaging::{EventSource, Incoming, SourceError};

/// The archive as an event store.
pub struct Archive(pub Compliance);

#[async_trait]
impl EventSource for Archive {
    async fn head(&self) -> Result<i64, SourceError> {
        self.0.archive_head().await.map_err(unreadable)
    }

    async fn events(
        &self,
        types: &[&str],
        after: i64,
        until: i64,
        limit: i64,
    ) -> Result<Vec<(i64, Incoming)>, SourceError> {
        let events = self.0.archived_of(types, after, until, limit).await.map_err(unreadable)?;
        let incoming =
            events.into_iter().map(|event| (event.position, Incoming { envelope: event.envelope, data: event.data }));
        Ok(incoming.collect())
    }

    async fn gaps(&self, types: &[&str]) -> Result<i64, SourceError> {
        let mut modules: Vec<String> =
            types.iter().filter_map(|name| name.split('.').next()).map(str::to_owned).collect();
        modules.sort_unstable();
        modules.dedup();
        self.0.archive_gaps(&modules).await.map_err(unreadable)
    }
}

#[async_trait]
impl EventArchive for Archive {
    async fn position_at(&self, time: DateTime<Utc>) -> Result<i64, SourceError> {
        self.0.archive_position(ArchivePoint::Time(time)).await.map_err(unreadable)
    }

    async fn types_of(&self, module: &str) -> Result<Vec<String>, SourceError> {
        self.0.archived_types(module).await.map_err(unreadable)
    }

    async fn counts(&self, types: &[&str], after: i64, until: i64) -> Result<BTreeMap<String, i64>, SourceError> {
        self.0.archive_counts(types, after, until).await.map_err(unreadable)
    }
}

fn unreadable(error: sqlx::Error) -> SourceError {
    SourceError(error.to_string())
}
