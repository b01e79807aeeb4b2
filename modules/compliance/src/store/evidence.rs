use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

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
}

impl Evidence {
    /// The hash in hexadecimal.
    pub fn sha256_hex(&self) -> String {
        crate::proof::hex(&self.sha256)
    }
}

/// Stores a document; `false` when there is no such violation, or the document is kept with it already.
///
/// # Errors
/// Database faults.
pub async fn insert_in_tx(connection: &mut PgConnection, new: &Evidence, content: &[u8]) -> sqlx::Result<bool> {
    let inserted = sqlx::query!(
        "insert into compliance.evidence (
             evidence_id, violation_id, file_name, media_type, sha256, content, attached_by, attached_at
         )
         select $1, violation_id, $3, $4, $5, $6, $7, $8 from compliance.violation where violation_id = $2
         on conflict (violation_id, sha256) do nothing",
        new.evidence_id,
        new.violation_id,
        new.file_name,
        new.media_type,
        new.sha256,
        content,
        new.attached_by,
        new.attached_at
    )
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() > 0)
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
                  attached_at
           from compliance.evidence where violation_id = $1 and sha256 = $2"#,
        violation_id,
        sha256
    )
    .fetch_optional(connection)
    .await
}

/// The documents of a violation, in the order they came.
///
/// # Errors
/// Database faults.
pub async fn of_violation(pool: &PgPool, violation_id: Uuid, limit: i64) -> sqlx::Result<Vec<Evidence>> {
    sqlx::query_as!(
        Evidence,
        r#"select evidence_id, violation_id, file_name, media_type, sha256, octet_length(content) as "size!", attached_by,
                  attached_at
           from compliance.evidence where violation_id = $1 order by attached_at, evidence_id limit $2"#,
        violation_id,
        limit
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
