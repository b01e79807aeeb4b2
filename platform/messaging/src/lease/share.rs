//! Who takes a free lease, and who hands one over. Each instance decides for itself from the same picture; nothing here
//! has to be right for the leases to be exclusive, only for them to be spread.

/// How many free leases an instance may take that holds `mine` of `leases`, when the live instances hold `counts` (its own
/// among them).
pub(super) fn to_take(leases: usize, mine: usize, counts: &[usize]) -> usize {
    let others_need_it_more = counts.iter().any(|count| *count < mine);
    if others_need_it_more { 0 } else { leases.div_ceil(counts.len().max(1)).saturating_sub(mine) }
}

/// Whether an instance hands one over: only when that makes the shares more equal.
pub(super) fn gives_one(mine: usize, counts: &[usize]) -> bool {
    counts.iter().any(|count| count + 2 <= mine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_instance_takes_everything() {
        assert_eq!(to_take(4, 0, &[0]), 4);
        assert!(!gives_one(4, &[4]));
    }

    #[test]
    fn what_one_instance_holds_is_not_moved_for_nothing() {
        assert!(!gives_one(1, &[1, 0]));
        assert!(gives_one(2, &[2, 0]));
    }

    proptest! {
        /// Whatever is held at first, handing over one at a time and taking what is free ends, and ends balanced.
        #[test]
        fn shares_become_equal_and_stay(mut counts in prop::collection::vec(0..9_usize, 1..6), free in 0..9_usize) {
            let leases = counts.iter().sum::<usize>() + free;
            let mut free = free;
            let mut moves = 0;
            loop {
                let before = counts.clone();
                for index in 0..counts.len() {
                    let taken = to_take(leases, counts[index], &counts).min(free);
                    counts[index] += taken;
                    free -= taken;
                }
                if free == 0 && let Some(index) = (0..counts.len()).find(|index| gives_one(counts[*index], &counts)) {
                    counts[index] -= 1;
                    free += 1;
                }
                if counts == before {
                    break;
                }
                moves += 1;
                prop_assert!(moves < 100, "{counts:?}");
            }
            prop_assert_eq!(free, 0);
            let (most, least) = (counts.iter().max(), counts.iter().min());
            prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{counts:?}");
        }
    }
}
