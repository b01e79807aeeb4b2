//! Relay connections over keysets: `first`/`after`, opaque cursors, `edges`, `nodes` and `pageInfo`.
//!
//! ```
//! # use vostro_schema::connection::{Page, PageRequest};
//! # struct Row { booked: i64, id: i64 }
//! # #[derive(async_graphql::SimpleObject)] struct Entry { id: i64 }
//! # fn load(_after: Option<(i64, i64)>, _limit: i64) -> Vec<Row> { vec![] }
//! # fn entries(first: Option<i32>, after: Option<String>) -> async_graphql::Result<Page<Entry>> {
//! let page = PageRequest::<(i64, i64)>::new("entries", first, after)?;
//! let rows = load(page.after, page.rows_to_fetch()); // ORDER BY booked DESC, id DESC LIMIT $n
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

use crate::faults::bad_user_input;

/// Objects per page when the client does not say.
pub const DEFAULT_PAGE: usize = 20;
/// The most objects a client can ask for at once.
pub const LARGEST_PAGE: usize = 100;

/// A page of `N`, as the schema's type `<N>Connection`.
pub type Page<N> = Connection<Cursor, N>;

/// A position in a connection. Opaque to clients: what is inside may change at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

/// The text is not a cursor of this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this list: pass the `endCursor` or `cursor` of one of its earlier pages")]
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

/// What the client asked for: how many rows after which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest<K> {
    connection: &'static str,
    /// How many objects at most.
    pub limit: usize,
    /// The key of the last object of the page before; `None` for the first page.
    pub after: Option<K>,
}

impl<K: Serialize + DeserializeOwned> PageRequest<K> {
    /// Reads the arguments `first` and `after` of the named connection. The name is any constant that differs between
    /// the lists of a schema; the sort key `K` is whatever the list is ordered by, with an id as the tie-break.
    ///
    /// # Errors
    /// `BAD_USER_INPUT` when `first` is not between 1 and [`LARGEST_PAGE`] or `after` is not a cursor of this list.
    pub fn new(connection: &'static str, first: Option<i32>, after: Option<String>) -> Result<Self> {
        let limit = match first {
            None => DEFAULT_PAGE,
            Some(first) => usize::try_from(first)
                .ok()
                .filter(|first| (1..=LARGEST_PAGE).contains(first))
                .ok_or_else(|| bad_user_input(format!("`first` must be between 1 and {LARGEST_PAGE}.")))?,
        };
        let after = after
            .map(|text| Cursor::key(connection, &text))
            .transpose()
            .map_err(|error| bad_user_input(error.to_string()))?;
        Ok(Self { connection, limit, after })
    }

    /// How many rows to read: one more than the page has, which tells whether there is a next page.
    pub fn rows_to_fetch(&self) -> i64 {
        i64::try_from(self.limit).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// Makes the page from up to [`PageRequest::rows_to_fetch`] rows in the order of the list.
    pub fn connection<R, N: async_graphql::OutputType>(
        &self,
        mut rows: Vec<R>,
        key: impl Fn(&R) -> K,
        node: impl Fn(R) -> N,
    ) -> Page<N> {
        let has_next_page = rows.len() > self.limit;
        rows.truncate(self.limit);
        let mut page = Page::new(self.after.is_some(), has_next_page);
        page.edges.reserve(rows.len());
        for row in rows {
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

    fn page(request: &Request, rows: &[i64]) -> Page<i64> {
        request.connection(rows.to_vec(), |row| (*row, "id".into()), |row| row)
    }

    #[test]
    fn a_page_has_twenty_objects_unless_told() {
        assert_eq!(Request::new("list", None, None).expect("defaults").limit, 20);
        assert_eq!(Request::new("list", Some(100), None).expect("the maximum").limit, 100);
        for first in [0, -1, 101, i32::MIN] {
            assert!(Request::new("list", Some(first), None).is_err(), "{first}");
        }
    }

    #[test]
    fn the_cursor_of_the_last_object_continues_after_it() {
        let request = Request::new("list", Some(2), None).expect("a request");
        assert_eq!(request.rows_to_fetch(), 3);
        let first = page(&request, &[1, 2, 3]);
        assert!(first.has_next_page && !first.has_previous_page);
        assert_eq!(first.edges.iter().map(|edge| edge.node).collect::<Vec<_>>(), [1, 2]);

        let after = first.edges[1].cursor.encode_cursor();
        let request = Request::new("list", Some(2), Some(after)).expect("the next request");
        assert_eq!(request.after, Some((2, "id".to_owned())));
        let last = page(&request, &[3]);
        assert!(!last.has_next_page && last.has_previous_page);
    }

    #[test]
    fn a_cursor_of_another_list_or_a_mangled_one_is_refused() {
        let request = Request::new("list", Some(1), None).expect("a request");
        let cursor = page(&request, &[1, 2]).edges[0].cursor.encode_cursor();
        assert!(Request::new("other", None, Some(cursor.clone())).is_err());
        for text in ["", "AQ", "not base64!", &cursor[1..], &format!("{cursor}AA")] {
            assert!(Request::new("list", None, Some(text.to_owned())).is_err(), "{text}");
        }
    }
}
