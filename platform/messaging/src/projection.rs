use async_trait::async_trait;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{HandlerError, Incoming, Subscription};

/// What a module keeps of other modules' events and nothing else, so that it can be built again from the event store.
///
/// It has two tables of the same columns: the live one, and one beside it that only [`Rebuild`](crate::Rebuild) writes. Each
/// row remembers the sequence of the last event that it took (its *version*), and older events change nothing. Applying
/// is all there is: no outbox, no mail, nobody is told.
#[async_trait]
pub trait Projection: Send + Sync + 'static {
    /// The live table's name; with the module in front it is the projection's.
    fn name(&self) -> &'static str;

    /// The subscription that keeps the live table.
    fn subscription(&self) -> Subscription;

    /// The event types it follows from, all of them types of the subscription. Earlier versions are read as these.
    fn events(&self) -> &'static [&'static str];

    /// Empties the table beside the live one.
    ///
    /// # Errors
    /// Database faults.
    async fn clear_in_tx(&self, connection: &mut PgConnection) -> sqlx::Result<()>;

    /// Applies events to the table beside the live one, by the code that applies them to the live one.
    ///
    /// # Errors
    /// As a handler.
    async fn apply_in_tx(&self, connection: &mut PgConnection, events: &[Incoming]) -> Result<(), HandlerError>;

    /// Keeps writers from the live table until the transaction ends. Readers go on.
    ///
    /// # Errors
    /// Database faults; also when the lock cannot be had in time.
    async fn lock_in_tx(&self, connection: &mut PgConnection) -> sqlx::Result<()>;

    /// Compares the two tables at one instant.
    ///
    /// # Errors
    /// Database faults.
    async fn compare_in_tx(&self, connection: &mut PgConnection) -> sqlx::Result<Comparison>;

    /// Makes the live table what the one beside it is, writing only rows that differ, and says how many.
    ///
    /// # Errors
    /// Database faults.
    async fn adopt_in_tx(&self, connection: &mut PgConnection) -> sqlx::Result<u64>;
}

/// How the live table (L) and the rebuilt one (R) compare. Each key is counted once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// The same in both.
    pub same: i64,
    /// Of the same version and not the same: L is damaged.
    pub different: i64,
    /// L has not taken an event that R has: it is still on its way to L, parked there, or lost.
    pub behind: i64,
    /// L has taken an event that R has not: it is still on its way to the event store, or L is damaged.
    pub ahead: i64,
    /// Over all rows, in any order.
    pub checksum_live: String,
    pub checksum_rebuilt: String,
    /// Some keys that are not the same.
    pub examples: Vec<Uuid>,
}

impl Comparison {
    /// Whether both hold exactly the same.
    pub fn is_equal(&self) -> bool {
        self.checksum_live == self.checksum_rebuilt && (self.different, self.behind, self.ahead) == (0, 0, 0)
    }
}

/// Compares the live table with the one beside it in one statement, so at one instant, and gives a [`Comparison`].
/// `$pairs` selects from both, joined by their key: the key as `id`, either row as text in `live` and `rebuilt`, and
/// whether either has taken later events, as `ahead` and `behind`. The checksums are sums of two 64-bit hashes of the
/// rows: they do not depend on an order, so nothing is sorted.
#[macro_export]
macro_rules! compare_pairs {
    ($connection:expr, $pairs:literal) => {
        sqlx::query_as!(
            $crate::Comparison,
            "with pair as ("
                + $pairs
                + r#")
               select count(*) filter (where live is not distinct from rebuilt) as "same!",
                      count(*) filter (where live is distinct from rebuilt and not ahead and not behind) as "different!",
                      count(*) filter (where behind and not ahead) as "behind!",
                      count(*) filter (where ahead) as "ahead!",
                      md5(concat_ws('/', count(live), sum(hashtextextended(live, 0)), sum(hashtextextended(live, 1))))
                          as "checksum_live!",
                      md5(concat_ws('/', count(rebuilt), sum(hashtextextended(rebuilt, 0)),
                          sum(hashtextextended(rebuilt, 1)))) as "checksum_rebuilt!",
                      coalesce((array_agg(id order by id) filter (where live is distinct from rebuilt))[1:5], '{}')
                          as "examples!"
               from pair"#
        )
        .fetch_one($connection)
        .await
    };
}
