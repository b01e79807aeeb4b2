use std::fmt::Debug;

use vostro_kernel::Page;

/// Reads a list in pages of several sizes from every place in it, forwards and backwards, and gives all its rows in their
/// order. What is walked backwards is then what is walked forwards: each page is the part of the list it has to be.
///
/// # Panics
/// When a page is another part of the list, or the list has a thousand rows or more.
pub async fn walked_both_ways<R, K>(key: impl Fn(&R) -> K, read: impl AsyncFn(Page<K>) -> Vec<R>) -> Vec<R>
where
    R: Debug + PartialEq,
{
    const MOST: usize = 1_000;
    let limit = |size: usize| i64::try_from(size).expect("a small number");
    let all = read(Page::forward(None, limit(MOST))).await;
    assert!(all.len() < MOST, "too long a list to be walked through");
    for size in [1, 2, 3, all.len() + 1] {
        for place in 0..=all.len() {
            let behind = place.checked_sub(1).map(|row| key(&all[row]));
            let read_on = read(Page::forward(behind, limit(size))).await;
            assert_eq!(read_on, all[place..all.len().min(place + size)], "{size} rows forwards from place {place}");
            let ahead = all.get(place).map(&key);
            let read_back = read(Page::backward(ahead, limit(size))).await;
            assert_eq!(read_back, all[place.saturating_sub(size)..place], "{size} rows backwards from place {place}");
        }
    }
    all
}
