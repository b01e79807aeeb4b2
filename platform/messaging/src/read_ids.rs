use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::Instant;

/// Which rows of an outbox were read.
///
/// Ids are handed out before the commit, so a row can appear below others that were read before it. Every id that was
/// passed over is remembered, longer than a transaction can last: when its row appears it is read together with whatever
/// its aggregate has written since, in the order of the ids.
#[derive(Debug, Default)]
pub(crate) struct ReadIds {
    newest: i64,
    /// How far down the rows may begin to appear that a reader before this one had passed over.
    known_from: Option<i64>,
    /// Ids that were passed over, by the first of each run.
    gaps: BTreeMap<i64, Gap>,
}

#[derive(Debug, Clone, Copy)]
struct Gap {
    last: i64,
    passed_at: Instant,
}

impl ReadIds {
    /// Longer than a module's transaction can last: PostgreSQL ends its statements after 30 seconds, and its connections
    /// when they are idle in a transaction.
    const REMEMBERED: Duration = Duration::from_secs(180);
    /// When a relay starts it does not know which ids below the first row are of rows long deleted. A transaction that is
    /// open at that moment has taken its ids not longer ago than this many.
    const BEFORE_THE_FIRST: i64 = 2_000;

    /// Reads everything from the first row again, and still knows how far down a row may appear that was passed over.
    pub(crate) fn start_again(&mut self) {
        let known_from = self.gaps.keys().next().copied().into_iter().chain(self.known_from).min();
        *self = Self { known_from, ..Self::default() };
    }

    /// The highest id that was read; everything above it is new.
    pub(crate) fn newest(&self) -> i64 {
        self.newest
    }

    /// The ids below [`Self::newest`] whose rows may still appear.
    pub(crate) fn gaps(&self) -> Vec<RangeInclusive<i64>> {
        self.gaps.iter().map(|(first, gap)| *first..=gap.last).collect()
    }

    /// Takes note of rows that were read: ids in ascending order.
    pub(crate) fn note(&mut self, ids: impl IntoIterator<Item = i64>) {
        let now = Instant::now();
        for id in ids {
            if id > self.newest {
                let first = if self.newest == 0 { self.lowest_before(id) } else { self.newest + 1 };
                self.remember(first, id - 1, now);
                self.newest = id;
            } else if let Some((first, gap)) = self.gap_around(id) {
                self.gaps.remove(&first);
                self.remember(first, id - 1, gap.passed_at);
                self.remember(id + 1, gap.last, gap.passed_at);
            }
        }
        self.gaps.retain(|_, gap| now - gap.passed_at < Self::REMEMBERED);
    }

    fn lowest_before(&mut self, first_row: i64) -> i64 {
        let guessed = (first_row - Self::BEFORE_THE_FIRST).max(1);
        self.known_from.take().map_or(guessed, |known| known.min(guessed))
    }

    fn gap_around(&self, id: i64) -> Option<(i64, Gap)> {
        let (first, gap) = self.gaps.range(..=id).next_back()?;
        (id <= gap.last).then_some((*first, *gap))
    }

    fn remember(&mut self, first: i64, last: i64, passed_at: Instant) {
        if first <= last {
            self.gaps.insert(first, Gap { last, passed_at });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(batches: &[&[i64]]) -> ReadIds {
        let mut read = ReadIds { newest: 1, ..ReadIds::default() };
        batches.iter().for_each(|ids| read.note(ids.iter().copied()));
        read
    }

    #[test]
    fn ids_that_were_passed_over_are_remembered() {
        let read = read(&[&[2, 5, 6, 9]]);
        assert_eq!((read.newest(), read.gaps()), (9, vec![3..=4, 7..=8]));
    }

    #[test]
    fn a_row_that_appears_in_a_gap_leaves_the_rest_of_the_gap() {
        assert_eq!(read(&[&[10], &[5]]).gaps(), [2..=4, 6..=9]);
        assert_eq!(read(&[&[10], &[2, 3, 9, 12]]).gaps(), [4..=8, 11..=11]);
        assert_eq!(read(&[&[4], &[2, 3]]).gaps(), []);
    }

    #[test]
    fn a_relay_that_starts_looks_some_way_below_the_first_row() {
        let mut read = ReadIds::default();
        read.note([1_000_000]);
        assert_eq!(read.gaps(), [998_000..=999_999]);
    }

    #[test]
    fn a_row_that_is_read_again_opens_no_gap() {
        assert_eq!(read(&[&[3, 4, 5], &[4, 5]]).gaps(), [2..=2]);
    }

    #[test]
    fn a_relay_that_starts_again_looks_as_far_down_as_it_had_passed_over() {
        let mut read = read(&[&[5, 1_000_000]]);
        read.start_again();
        read.start_again();
        read.note([1_000_001]);
        assert_eq!((read.newest(), read.gaps()), (1_000_001, vec![2..=1_000_000]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_is_forgotten_when_no_transaction_can_fill_it_any_more() {
        let mut read = read(&[&[5]]);
        tokio::time::advance(Duration::from_secs(90)).await;
        read.note([3]);
        assert_eq!(read.gaps(), [2..=2, 4..=4]);
        tokio::time::advance(Duration::from_secs(90)).await;
        read.note([6, 8]);
        assert_eq!(read.gaps(), [7..=7]);
    }

    proptest! {
        #[test]
        fn whatever_the_order_of_the_commits_each_row_is_read_once(
            order in Just((2..80_i64).collect::<Vec<_>>()).prop_shuffle(),
            windows in prop::collection::vec(1..9_usize, 80),
        ) {
            let mut read = read(&[]);
            let mut committed = order.into_iter();
            let (mut waiting, mut seen) = (Vec::new(), Vec::new());
            for commits in windows {
                waiting.extend(committed.by_ref().take(commits));
                let gaps = read.gaps();
                let is_new = |id: &i64| *id > read.newest() || gaps.iter().any(|gap| gap.contains(id));
                let (mut window, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_new);
                window.sort_unstable();
                prop_assert!(rest.is_empty(), "never read again: {rest:?}");
                read.note(window.iter().copied());
                seen.extend(window);
                waiting = Vec::new();
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (2..80).collect::<Vec<_>>());
        }
    }
}
