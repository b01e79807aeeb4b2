use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use vostro_kernel::{Page, PageDirection};

/// A document that is kept with a violation, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub evidence_id: Uuid,
    pub violation_id: Uuid,
    pub file_name: String,
    pub media_type: String,
    /// Of the content.
    pub sha256: Vec<u8>,
    /// Of the content, in bytes.
    pub size: i32,
    /// The officer.
    pub attached_by: Uuid,
    pub attached_at: DateTime<Utc>,
    /// Its place among all documents, in the order of the commits.
    pub position: i64,
    /// Its number among what happened to the violation, which was found as number 1.
    pub sequence: i64,
}

impl Evidence {
    /// The hash in hexadecimal.
    pub fn sha256_hex(&self) -> String {
        crate::proof::hex(&self.sha256)
    }
}

/// Stores a document and numbers it; `false` when there is no such violation, or the document is kept with it already.
///
/// # Errors
/// Database faults.
pub async fn insert_in_tx(connection: &mut PgConnection, new: &mut Evidence, content: &[u8]) -> sqlx::Result<bool> {
    let inserted = sqlx::query!(
        "insert into compliance.evidence (
             evidence_id, violation_id, file_name, media_type, sha256, content, attached_by, attached_at
         )
         select $1, violation_id, $3, $4, $5, $6, $7, $8 from compliance.violation where violation_id = $2
         on conflict (violation_id, sha256) do nothing
         returning position, sequence",
        new.evidence_id,
        new.violation_id,
        new.file_name,
        new.media_type,
        new.sha256,
        content,
        new.attached_by,
        new.attached_at
    )
    .fetch_optional(connection)
    .await?;
    let Some(numbers) = inserted else { return Ok(false) };
    (new.position, new.sequence) = (numbers.position, numbers.sequence);
    Ok(true)
}

/// The document with this content that is kept with a violation.
///
/// # Errors
/// Database faults.
pub async fn same_in_tx(
    connection: &mut PgConnection,
    violation_id: Uuid,
    sha256: &[u8],
) -> sqlx::Result<Option<Evidence>> {
    sqlx::query_as!(
        Evidence,
        r#"select evidence_id, violation_id, file_name, media_type, sha256, octet_length(content) as "size!", attached_by,
                  attached_at, position, sequence
           from compliance.evidence where violation_id = $1 and sha256 = $2"#,
        violation_id,
        sha256
    )
    .fetch_optional(connection)
    .await
}

/// A page of the documents of a violation, in the order they came. The key is the sequence.
///
/// # Errors
/// Database faults.
pub async fn page(pool: &PgPool, violation_id: Uuid, page: Page<i64>) -> sqlx::Result<Vec<Evidence>> {
    macro_rules! outwards {
        ($order:literal) => {
            sqlx::query_as!(
                Evidence,
                r#"select evidence_id, violation_id, file_name, media_type, sha256, octet_length(content) as "size!",
                          attached_by, attached_at, position, sequence
                   from compliance.evidence where violation_id = $1 and sequence "#
                    + $order
                    + " limit $3",
                violation_id,
                page.from_or(0, i64::MAX),
                page.limit
            )
            .fetch_all(pool)
            .await?
        };
    }
    let rows = match page.direction {
        PageDirection::Forward => outwards!("> $2 order by sequence"),
        PageDirection::Backward => outwards!("< $2 order by sequence desc"),
    };
    Ok(page.in_order(rows))
}

/// The documents with these ids, in no order.
///
/// # Errors
/// Database faults.
pub async fn by_ids(pool: &PgPool, ids: &[Uuid]) -> sqlx::Result<Vec<Evidence>> {
    sqlx::query_as!(
        Evidence,
        r#"select evidence_id, violation_id, file_name, media_type, sha256, octet_length(content) as "size!", attached_by,
                  attached_at, position, sequence
           from compliance.evidence where evidence_id = any($1)"#,
        ids
    )
    .fetch_all(pool)
    .await
}

/// The documents behind a position, oldest first.
///
/// # Errors
/// Database faults.
pub async fn since(pool: &PgPool, position: i64, limit: i64) -> sqlx::Result<Vec<Evidence>> {
    sqlx::query_as!(
        Evidence,
        r#"select evidence_id, violation_id, file_name, media_type, sha256, octet_length(content) as "size!", attached_by,
                  attached_at, position, sequence
           from compliance.evidence where position > $1 order by position limit $2"#,
        position,
        limit
    )
    .fetch_all(pool)
    .await
}

/// The position of the newest document; 0 when there is none.
///
/// # Errors
/// Database faults.
pub async fn newest(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"select coalesce(max(position), 0) as "position!" from compliance.evidence"#)
        .fetch_one(pool)
        .await
}

/// The newest document of each of these violations that has one, up to a position.
///
/// # Errors
/// Database faults.
pub async fn newest_of(pool: &PgPool, violation_ids: &[Uuid], position: i64) -> sqlx::Result<Vec<Evidence>> {
    sqlx::query_as!(
        Evidence,
        r#"select distinct on (violation_id) evidence_id, violation_id, file_name, media_type, sha256,
                  octet_length(content) as "size!", attached_by, attached_at, position, sequence
           from compliance.evidence where violation_id = any($1) and position <= $2
           order by violation_id, sequence desc"#,
        violation_ids,
        position
    )
    .fetch_all(pool)
    .await
}

/// The content of a document, with its hash as it was stored.
///
/// # Errors
/// Database faults.
pub async fn content(pool: &PgPool, evidence_id: Uuid) -> sqlx::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let row = sqlx::query!("select content, sha256 from compliance.evidence where evidence_id = $1", evidence_id);
    Ok(row.fetch_optional(pool).await?.map(|row| (row.content, row.sha256)))
}
