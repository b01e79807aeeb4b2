use std::ops::Range;

/// Which way a list is read. Rows are handed on in the order of the list all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PageDirection {
    /// From its beginning, or what follows a row.
    Forward,
    /// From its end, or what precedes a row.
    Backward,
}

/// A part of a list that is sorted by `K`: so many rows on one side of a row, or from one end of the list.
///
/// A query reads a page outwards, beginning next to [`Page::from`], whichever way that is, so that an index can stop it
/// after [`Page::limit`] rows; [`Page::in_order`] then gives them the order of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Page<K> {
    /// The key of the row beside the page, which is not in it; without one the page begins at an end of the list.
    pub from: Option<K>,
    pub direction: PageDirection,
    /// How many rows at most.
    pub limit: i64,
}

impl<K> Page<K> {
    /// The rows that follow one, or the first ones.
    pub const fn forward(from: Option<K>, limit: i64) -> Self {
        Self { from, direction: PageDirection::Forward, limit }
    }

    /// The rows that precede one, or the last ones.
    pub const fn backward(from: Option<K>, limit: i64) -> Self {
        Self { from, direction: PageDirection::Backward, limit }
    }

    pub const fn is_backward(&self) -> bool {
        matches!(self.direction, PageDirection::Backward)
    }

    /// The page with the next row beside it, which tells whether the list goes on: [`Page::shown`] leaves it out again.
    #[must_use]
    pub fn and_one_more(self) -> Self {
        Self { limit: self.limit.saturating_add(1), ..self }
    }

    /// Puts rows that were read outwards into the order of the list, and back.
    pub fn in_order<R>(&self, mut read: Vec<R>) -> Vec<R> {
        if self.is_backward() {
            read.reverse();
        }
        read
    }

    /// Which of so many rows in the order of the list belong to the page: those next to where it begins.
    pub fn shown(&self, rows: usize) -> Range<usize> {
        let shown = rows.min(usize::try_from(self.limit).unwrap_or(0));
        if self.is_backward() { rows - shown..rows } else { 0..shown }
    }

    /// The page of several lists that are one to the reader, out of their own pages.
    pub fn merged<R, O: Ord>(&self, mut rows: Vec<R>, order: impl Fn(&R) -> O) -> Vec<R> {
        rows.sort_by_key(order);
        let shown = self.shown(rows.len());
        rows.drain(shown).collect()
    }
}

impl<K: Copy> Page<K> {
    /// Where to read from: an end of the list is beyond all keys there, which these two are for both ends.
    pub fn from_or(&self, beginning: K, end: K) -> K {
        self.from.unwrap_or(if self.is_backward() { end } else { beginning })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_were_read_from_the_end_are_turned_around() {
        assert_eq!(Page::forward(Some(1), 9).in_order(vec![2, 3, 4]), [2, 3, 4]);
        assert_eq!(Page::backward(Some(5), 9).in_order(vec![4, 3, 2]), [2, 3, 4]);
    }

    #[test]
    fn the_row_beyond_a_page_is_on_its_far_side() {
        let (forward, backward) = (Page::<i64>::forward(None, 2), Page::<i64>::backward(None, 2));
        assert_eq!((forward.and_one_more().limit, backward.and_one_more().limit), (3, 3));
        assert_eq!((forward.shown(3), backward.shown(3)), (0..2, 1..3));
        assert_eq!((forward.shown(1), backward.shown(1)), (0..1, 0..1));
        assert_eq!(Page::<i64>::backward(None, -1).shown(3), 3..3);
    }

    #[test]
    fn a_page_without_a_neighbour_begins_at_the_end_it_is_read_from() {
        assert_eq!(Page::forward(None, 1).from_or(0, 9), 0);
        assert_eq!(Page::backward(None, 1).from_or(0, 9), 9);
        assert_eq!(Page::backward(Some(5), 1).from_or(0, 9), 5);
    }

    #[test]
    fn of_several_lists_those_next_to_the_beginning_are_kept() {
        assert_eq!(Page::<i64>::forward(None, 2).merged(vec![1, 4, 2, 3], |row| *row), [1, 2]);
        assert_eq!(Page::<i64>::backward(None, 2).merged(vec![1, 4, 2, 3], |row| *row), [3, 4]);
    }
}
