use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{EventSource, SourceError};

/// Where in the event store something begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchivePoint {
    Position(i64),
    /// The first event that was recorded then or later.
    Time(DateTime<Utc>),
}

/// What it takes beside reading events to publish them once more.
#[async_trait]
pub trait EventArchive: EventSource {
    /// The first position that was recorded at this time or later; one behind the last when there is none.
    ///
    /// # Errors
    /// When the archive cannot be read.
    async fn position_at(&self, time: DateTime<Utc>) -> Result<i64, SourceError>;

    /// The types of this module's events that the archive has, in every version.
    ///
    /// # Errors
    /// When the archive cannot be read.
    async fn types_of(&self, module: &str) -> Result<Vec<String>, SourceError>;

    /// How many events of these types there are after one position and up to another, by type.
    ///
    /// # Errors
    /// When the archive cannot be read.
    async fn counts(&self, types: &[&str], after: i64, until: i64) -> Result<BTreeMap<String, i64>, SourceError>;
}
