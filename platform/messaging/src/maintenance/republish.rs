use std::collections::BTreeMap;

use super::{ArchivePoint, EventArchive, MaintenanceError};
use crate::{Incoming, SourceError};

/// Events of a module that are to be published once more, from the archive, in their order. Subscribers that have had them
/// drop them, so it is safe to republish too much; those that have not take them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Republication {
    module: &'static str,
    /// The first position.
    pub first: i64,
    /// The last one, included.
    pub last: i64,
    /// Only these types; all of the module's when empty.
    pub types: Vec<String>,
}

impl Republication {
    /// Events that enter the outbox in one transaction.
    const PAGE: i64 = 1_000;
    /// Positions of the archive that are looked through at once: some seconds on a slow disk.
    const SPAN: i64 = 500_000;

    /// Those from one point to another, which is included if it is a position and not if it is a time; to the end of the
    /// archive without one.
    ///
    /// # Errors
    /// [`MaintenanceError::EventTypeUnknown`] and [`MaintenanceError::RangeEmpty`]; when the archive cannot be read.
    pub async fn resolve(
        archive: &dyn EventArchive,
        module: &'static str,
        from: ArchivePoint,
        to: Option<ArchivePoint>,
        types: &[String],
    ) -> Result<Self, MaintenanceError> {
        let known = archive.types_of(module).await?;
        if let Some(unknown) = types.iter().find(|name| !known.contains(name)) {
            return Err(MaintenanceError::EventTypeUnknown { module, event_type: unknown.clone() });
        }
        let first = match from {
            ArchivePoint::Position(position) => position.max(1),
            ArchivePoint::Time(time) => archive.position_at(time).await?,
        };
        let end = archive.head().await?;
        let last = match to {
            None => end,
            Some(ArchivePoint::Position(position)) => position.min(end),
            Some(ArchivePoint::Time(time)) => archive.position_at(time).await? - 1,
        };
        if last < first {
            return Err(MaintenanceError::RangeEmpty { first, last });
        }
        Ok(Self { module, first, last, types: types.to_vec() })
    }

    pub(super) const fn of(module: &'static str, first: i64, last: i64, types: Vec<String>) -> Self {
        Self { module, first, last, types }
    }

    /// How many events it is, by type.
    ///
    /// # Errors
    /// When the archive cannot be read.
    pub async fn count(&self, archive: &dyn EventArchive) -> Result<BTreeMap<String, i64>, SourceError> {
        let (mut counts, mut after) = (BTreeMap::new(), self.first - 1);
        while after < self.last {
            after = self.count_on(archive, after, &mut counts).await?;
        }
        Ok(counts)
    }

    /// Adds what there is in the next part of the archive, and says where it ends.
    pub(super) async fn count_on(
        &self,
        archive: &dyn EventArchive,
        after: i64,
        counts: &mut BTreeMap<String, i64>,
    ) -> Result<i64, SourceError> {
        let types = self.wanted(archive).await?;
        let types: Vec<&str> = types.iter().map(String::as_str).collect();
        let until = self.last.min(after.saturating_add(Self::SPAN));
        for (name, count) in archive.counts(&types, after, until).await? {
            *counts.entry(name).or_default() += count;
        }
        Ok(until)
    }

    /// The next events after a position, and the position behind which to go on.
    pub(super) async fn page(
        &self,
        archive: &dyn EventArchive,
        after: i64,
    ) -> Result<(Vec<Incoming>, i64), SourceError> {
        let types = self.wanted(archive).await?;
        let types: Vec<&str> = types.iter().map(String::as_str).collect();
        let until = self.last.min(after.saturating_add(Self::SPAN));
        let events = archive.events(&types, after, until, Self::PAGE).await?;
        let is_last = i64::try_from(events.len()).is_ok_and(|count| count < Self::PAGE);
        let reached = events.last().filter(|_| !is_last).map_or(until, |(position, _)| *position);
        Ok((events.into_iter().map(|(_, event)| event).collect(), reached))
    }

    async fn wanted(&self, archive: &dyn EventArchive) -> Result<Vec<String>, SourceError> {
        if self.types.is_empty() { archive.types_of(self.module).await } else { Ok(self.types.clone()) }
    }
}
