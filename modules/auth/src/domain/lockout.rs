use chrono::TimeDelta;

/// When an identifier is blocked after failed logins, and for how long.
///
/// Up to `failures` within `window` cost nothing. The one that reaches it blocks the identifier, and each further one
/// blocks it for twice as long. A success forgets everything, and so does a day without a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LockoutPolicy {
    pub(crate) failures: u32,
    pub(crate) window: TimeDelta,
    pub(crate) first: TimeDelta,
    pub(crate) longest: TimeDelta,
}

impl LockoutPolicy {
    /// How long blocks are remembered after the last failure: as long as they are, guessing slowly does not pay.
    pub(crate) const REMEMBERED: TimeDelta = TimeDelta::hours(24);

    /// The blocks in seconds, first to longest: the n-th failure beyond the free ones gets the n-th, later ones the
    /// last.
    pub(crate) fn blocks(&self) -> Vec<i64> {
        let longest = self.longest.num_seconds().max(1);
        let mut blocks = Vec::new();
        let mut block = self.first.num_seconds().clamp(1, longest);
        while block < longest {
            blocks.push(block);
            block *= 2;
        }
        blocks.push(longest);
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(first: i64, longest: i64) -> LockoutPolicy {
        LockoutPolicy {
            failures: 5,
            window: TimeDelta::minutes(15),
            first: TimeDelta::seconds(first),
            longest: TimeDelta::seconds(longest),
        }
    }

    #[test]
    fn every_block_is_twice_the_one_before_up_to_the_longest() {
        assert_eq!(policy(60, 3600).blocks(), [60, 120, 240, 480, 960, 1920, 3600]);
        assert_eq!(policy(60, 60).blocks(), [60]);
    }
}
