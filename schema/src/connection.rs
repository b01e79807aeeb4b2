//! Relay connections over keysets: `first`/`after` and `last`/`before`, opaque cursors, `edges`, `nodes` and `pageInfo`.
//!
//! ```
//! # use vostro_kernel::Page as Rows;
//! # use vostro_schema::connection::{Page, PageArguments, PageRequest};
//! # struct Row { booked: i64, id: i64 }
//! # #[derive(async_graphql::SimpleObject)] struct Entry { id: i64 }
//! # fn load(_rows: Rows<(i64, i64)>) -> Vec<Row> { vec![] }
//! # fn entries(
//! #     first: Option<i32>, after: Option<String>, last: Option<i32>, before: Option<String>,
//! # ) -> async_graphql::Result<Page<Entry>> {
//! let page = PageRequest::<(i64, i64)>::new("entries", PageArguments { first, after, last, before })?;
//! let rows = load(page.rows()); // outwards from a key, forwards or backwards; handed on in the order of the list
//! Ok(page.connection(rows, |row| (row.booked, row.id), |row| Entry { id: row.id }))
//! # }
//! ```

use async_graphql::Result;
use async_graphql::connection::{Connection, CursorType, Edge};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use vostro_kernel::{Page as Rows, PageDirection};

use crate::faults::bad_user_input;

/// Objects per page when the client does not say.
pub const DEFAULT_PAGE: usize = 20;
/// The most objects a client can ask for at once.
pub const LARGEST_PAGE: usize = 100;

/// Why arguments of both directions are refused: what Relay makes of them is a page that nobody wants, and whoever sends
/// them has mistaken one.
const ONE_DIRECTION: &str = "A page is read in one direction: `first` with `after` from the beginning on, or `last` with \
    `before` from the end back. Leave out the arguments of the other one.";

/// A page of `N`, as the schema's type `<N>Connection`.
pub type Page<N> = Connection<Cursor, N>;

/// A position in a connection. Opaque to clients: what is inside may change at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

/// The text is not a cursor of this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this list: pass the `endCursor`, `startCursor` or `cursor` of one of its pages")]
pub struct InvalidCursor;

impl CursorType for Cursor {
    type Error = InvalidCursor;

    fn decode_cursor(text: &str) -> Result<Self, Self::Error> {
        Ok(Self(text.to_owned()))
    }

    fn encode_cursor(&self) -> String {
        self.0.clone()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.0
    }
}

impl Cursor {
    const VERSION: u8 = 1;
    const CHECK: usize = 4;

    /// The cursor of the row with this key in the named connection.
    pub(crate) fn of<K: Serialize>(connection: &str, key: &K) -> Self {
        let key = serde_json::to_vec(key).unwrap_or_default();
        let mut bytes = Vec::with_capacity(1 + Self::CHECK + key.len());
        bytes.push(Self::VERSION);
        bytes.extend(Self::check(connection, &key));
        bytes.extend(key);
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    pub(crate) fn key<K: DeserializeOwned>(connection: &str, text: &str) -> Result<K, InvalidCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let (&version, rest) = bytes.split_first().ok_or(InvalidCursor)?;
        let (check, key) = rest.split_at_checked(Self::CHECK).ok_or(InvalidCursor)?;
        if version != Self::VERSION || check != Self::check(connection, key) {
            return Err(InvalidCursor);
        }
        serde_json::from_slice(key).map_err(|_| InvalidCursor)
    }

    /// Ties the key to its connection, so that a cursor of another list or a mangled one is an error and not a page
    /// from a surprising place. It is no secret: a cursor gives access to nothing, every page is authorised by itself.
    fn check(connection: &str, key: &[u8]) -> [u8; Self::CHECK] {
        let digest = Sha256::new().chain_update(connection).chain_update([0]).chain_update(key).finalize();
        [digest[0], digest[1], digest[2], digest[3]]
    }
}

/// The arguments of a field that is a connection. Each such field has all four.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageArguments {
    pub first: Option<i32>,
    pub after: Option<String>,
    pub last: Option<i32>,
    pub before: Option<String>,
}

/// What the client asked for: how many rows on which side of which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest<K> {
    connection: &'static str,
    page: Rows<K>,
}

impl<K: Serialize + DeserializeOwned> PageRequest<K> {
    /// Reads the arguments of the named connection. The name is any constant that differs between the lists of a schema; the
    /// sort key `K` is whatever the list is ordered by, with an id as the tie-break.
    ///
    /// `first` and `after` read the list from its beginning or behind a cursor, `last` and `before` from its end or up to a
    /// cursor. Without a number a page has [`DEFAULT_PAGE`] objects, without any argument it is the first one.
    ///
    /// # Errors
    /// `BAD_USER_INPUT` when an argument of one direction comes with one of the other, `first` or `last` is not between 1
    /// and [`LARGEST_PAGE`], or `after` or `before` is not a cursor of this list.
    pub fn new(connection: &'static str, arguments: PageArguments) -> Result<Self> {
        let PageArguments { first, after, last, before } = arguments;
        let forward = first.is_some() || after.is_some();
        let backward = last.is_some() || before.is_some();
        let (direction, name, size, cursor) = match (forward, backward) {
            (true, true) => return Err(bad_user_input(ONE_DIRECTION)),
            (_, false) => (PageDirection::Forward, "first", first, after),
            (false, true) => (PageDirection::Backward, "last", last, before),
        };
        let limit = match size {
            None => DEFAULT_PAGE,
            Some(size) => usize::try_from(size)
                .ok()
                .filter(|size| (1..=LARGEST_PAGE).contains(size))
                .ok_or_else(|| bad_user_input(format!("`{name}` must be between 1 and {LARGEST_PAGE}.")))?,
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let from = cursor
            .map(|text| Cursor::key(connection, &text))
            .transpose()
            .map_err(|error| bad_user_input(error.to_string()))?;
        Ok(Self { connection, page: Rows { from, direction, limit } })
    }

    /// The rows to read: one more than the page has, which tells whether the list goes on.
    pub fn rows(&self) -> Rows<K>
    where
        K: Clone,
    {
        self.shown().and_one_more()
    }

    /// The rows of the page itself, for a module that has to know which they are. It reads the one beside them, too.
    pub fn shown(&self) -> Rows<K>
    where
        K: Clone,
    {
        self.page.clone()
    }

    /// Makes the page from the [`PageRequest::rows`], which come in the order of the list whichever way they were read.
    pub fn connection<R, N: async_graphql::OutputType>(
        &self,
        mut rows: Vec<R>,
        key: impl Fn(&R) -> K,
        node: impl Fn(R) -> N,
    ) -> Page<N> {
        let shown = self.page.shown(rows.len());
        // Beyond the page the row that was read besides tells; on the side it begins at, the row of the cursor.
        let (goes_on, has_cursor) = (shown.len() < rows.len(), self.page.from.is_some());
        let mut page =
            if self.page.is_backward() { Page::new(goes_on, has_cursor) } else { Page::new(has_cursor, goes_on) };
        page.edges.reserve(shown.len());
        for row in rows.drain(shown) {
            let cursor = Cursor::of(self.connection, &key(&row));
            page.edges.push(Edge::new(cursor, node(row)));
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Request = PageRequest<(i64, String)>;

    fn forward(first: Option<i32>, after: Option<String>) -> PageArguments {
        PageArguments { first, after, ..PageArguments::default() }
    }

    fn backward(last: Option<i32>, before: Option<String>) -> PageArguments {
        PageArguments { last, before, ..PageArguments::default() }
    }

    fn request(arguments: PageArguments) -> Request {
        Request::new("list", arguments).expect("a request")
    }

    fn refusal(arguments: PageArguments) -> String {
        Request::new("list", arguments).expect_err("a refusal").message
    }

    fn page(request: &Request, rows: &[i64]) -> Page<i64> {
        request.connection(rows.to_vec(), |row| (*row, "id".into()), |row| row)
    }

    fn nodes(page: &Page<i64>) -> Vec<i64> {
        page.edges.iter().map(|edge| edge.node).collect()
    }

    fn cursor(row: i64) -> String {
        Cursor::of("list", &(row, "id")).encode_cursor()
    }

    #[test]
    fn a_page_has_twenty_objects_unless_told() {
        for arguments in [PageArguments::default(), forward(None, Some(cursor(1))), backward(None, Some(cursor(1)))] {
            assert_eq!(request(arguments.clone()).shown().limit, 20, "{arguments:?}");
        }
        assert_eq!(request(forward(Some(100), None)).shown().limit, 100);
        assert_eq!(request(backward(Some(100), None)).shown().limit, 100);
    }

    #[test]
    fn a_page_of_no_size_or_too_large_is_refused_by_the_name_of_its_argument() {
        for size in [0, -1, 101, i32::MIN] {
            assert_eq!(refusal(forward(Some(size), None)), "`first` must be between 1 and 100.", "{size}");
            assert_eq!(refusal(backward(Some(size), None)), "`last` must be between 1 and 100.", "{size}");
        }
    }

    #[test]
    fn arguments_of_both_directions_are_refused_and_told_apart() {
        let given = |number: bool, cursor_of| (number.then_some(1), (!number).then(|| cursor(cursor_of)));
        for (ahead, back) in [(true, true), (true, false), (false, true), (false, false)] {
            let ((first, after), (last, before)) = (given(ahead, 1), given(back, 2));
            let both = PageArguments { first, after, last, before };
            assert_eq!(refusal(both.clone()), ONE_DIRECTION, "{both:?}");
        }
    }

    #[test]
    fn without_a_number_the_cursor_says_which_way() {
        assert!(!request(PageArguments::default()).shown().is_backward());
        assert!(!request(forward(None, Some(cursor(1)))).shown().is_backward());
        assert!(request(backward(None, Some(cursor(1)))).shown().is_backward());
    }

    #[test]
    fn the_cursor_of_the_last_object_continues_after_it() {
        let first = request(forward(Some(2), None));
        assert_eq!(first.rows(), Rows::forward(None, 3));
        let first = page(&first, &[1, 2, 3]);
        assert!(first.has_next_page && !first.has_previous_page);
        assert_eq!(nodes(&first), [1, 2]);

        let next = request(forward(Some(2), Some(first.edges[1].cursor.encode_cursor())));
        assert_eq!(next.rows(), Rows::forward(Some((2, "id".to_owned())), 3));
        let last = page(&next, &[3]);
        assert!(!last.has_next_page && last.has_previous_page);
    }

    #[test]
    fn the_cursor_of_the_first_object_continues_before_it() {
        let last = request(backward(Some(2), None));
        assert_eq!(last.rows(), Rows::backward(None, 3));
        let last = page(&last, &[1, 2, 3]);
        assert!(!last.has_next_page && last.has_previous_page);
        assert_eq!(nodes(&last), [2, 3], "in the order of the list, without the one beyond");

        let previous = request(backward(Some(2), Some(last.edges[0].cursor.encode_cursor())));
        assert_eq!(previous.rows(), Rows::backward(Some((2, "id".to_owned())), 3));
        let first = page(&previous, &[1]);
        assert!(first.has_next_page && !first.has_previous_page);
        assert_eq!(nodes(&first), [1]);
    }

    #[test]
    fn a_cursor_of_another_list_or_a_mangled_one_is_refused() {
        let cursor = cursor(1);
        for text in ["", "AQ", "not base64!", &cursor[1..], &format!("{cursor}AA")] {
            for arguments in [forward(None, Some(text.to_owned())), backward(None, Some(text.to_owned()))] {
                assert!(Request::new("list", arguments).is_err(), "{text}");
            }
        }
        assert!(Request::new("other", forward(None, Some(cursor.clone()))).is_err());
        assert!(Request::new("other", backward(None, Some(cursor))).is_err());
    }
}
