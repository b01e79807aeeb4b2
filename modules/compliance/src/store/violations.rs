use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use vostro_kernel::{Page, PageDirection};

/// What a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub violation_id: Uuid,
    pub rule_id: String,
    pub rule_version: i32,
    pub severity: String,
    /// The account.
    pub subject_id: Uuid,
    /// The evidence, the triggering transaction last.
    pub transaction_ids: Vec<Uuid>,
    /// In the unit of the threshold: payments, or minor units.
    pub score: i64,
    pub threshold: i64,
    pub explanation: String,
    pub detected_at: DateTime<Utc>,
}

/// Which of these were found before.
///
/// # Errors
/// Database faults.
pub async fn known_in_tx(connection: &mut PgConnection, dedupe_keys: &[String]) -> sqlx::Result<HashSet<String>> {
    let known =
        sqlx::query_scalar!("select dedupe_key from compliance.violation where dedupe_key = any($1)", dedupe_keys);
    Ok(known.fetch_all(connection).await?.into_iter().collect())
}

/// Stores violations, each with its dedupe key.
///
/// # Errors
/// Database faults.
pub async fn insert_in_tx(connection: &mut PgConnection, violations: &[(String, Violation)]) -> sqlx::Result<()> {
    macro_rules! column {
        ($violation:ident => $value:expr) => {
            violations.iter().map(|(_, $violation)| $value).collect::<Vec<_>>()
        };
    }
    let dedupe_keys: Vec<&str> = violations.iter().map(|(key, _)| key.as_str()).collect();
    // Arrays of different lengths cannot be unnested together: each evidence travels as the text of an array.
    let evidence = column!(violation => format!("{{{}}}", violation.transaction_ids.iter().map(Uuid::to_string).collect::<Vec<_>>().join(",")));
    sqlx::query!(
        "insert into compliance.violation (
             violation_id, rule_id, rule_version, severity, subject_id, transaction_ids, score, threshold, explanation,
             detected_at, dedupe_key
         )
         select violation_id, rule_id, rule_version, severity, subject_id, evidence::uuid[], score, threshold, explanation,
             detected_at, dedupe_key
         from unnest(
             $1::uuid[], $2::text[], $3::integer[], $4::text[], $5::uuid[], $6::text[], $7::bigint[], $8::bigint[],
             $9::text[], $10::timestamptz[], $11::text[]
         ) as new(
             violation_id, rule_id, rule_version, severity, subject_id, evidence, score, threshold, explanation, detected_at,
             dedupe_key
         )",
        &column!(violation => violation.violation_id),
        &column!(violation => violation.rule_id.as_str()) as &[&str],
        &column!(violation => violation.rule_version),
        &column!(violation => violation.severity.as_str()) as &[&str],
        &column!(violation => violation.subject_id),
        &evidence,
        &column!(violation => violation.score),
        &column!(violation => violation.threshold),
        &column!(violation => violation.explanation.as_str()) as &[&str],
        &column!(violation => violation.detected_at),
        &dedupe_keys as &[&str]
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A page of the violations, newest first.
///
/// # Errors
/// Database faults.
pub async fn page(pool: &PgPool, page: Page<(DateTime<Utc>, Uuid)>) -> sqlx::Result<Vec<Violation>> {
    let (detected_at, id) = page.from.unzip();
    macro_rules! outwards {
        ($keyset:literal) => {
            sqlx::query_as!(
                Violation,
                "select violation_id, rule_id, rule_version, severity, subject_id, transaction_ids, score, threshold,
                        explanation, detected_at
                 from compliance.violation where "
                    + $keyset
                    + " limit $3",
                detected_at,
                id.unwrap_or_default(),
                page.limit
            )
            .fetch_all(pool)
            .await?
        };
    }
    // A bound that is always there lets the index begin with it, whatever the plan knows of the arguments.
    let rows = match page.direction {
        PageDirection::Forward => outwards!(
            "(detected_at, violation_id) < (coalesce($1, 'infinity'::timestamptz), $2::uuid)
             order by detected_at desc, violation_id desc"
        ),
        PageDirection::Backward => outwards!(
            "(detected_at, violation_id) > (coalesce($1, '-infinity'::timestamptz), $2::uuid)
             order by detected_at, violation_id"
        ),
    };
    Ok(page.in_order(rows))
}

/// The violations of a time or later, oldest first.
///
/// # Errors
/// Database faults.
pub async fn since(pool: &PgPool, at: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<Violation>> {
    sqlx::query_as!(
        Violation,
        "select violation_id, rule_id, rule_version, severity, subject_id, transaction_ids, score, threshold, explanation,
                detected_at
         from compliance.violation where detected_at >= $1
         order by detected_at, violation_id limit $2",
        at,
        limit
    )
    .fetch_all(pool)
    .await
}

/// The violations with these ids, in no order.
///
/// # Errors
/// Database faults.
pub async fn by_ids(pool: &PgPool, ids: &[Uuid]) -> sqlx::Result<Vec<Violation>> {
    sqlx::query_as!(
        Violation,
        "select violation_id, rule_id, rule_version, severity, subject_id, transaction_ids, score, threshold, explanation,
                detected_at
         from compliance.violation where violation_id = any($1)",
        ids
    )
    .fetch_all(pool)
    .await
}

/// The time of the latest violations and which they are; `None` when there is none.
///
/// # Errors
/// Database faults.
pub async fn latest(pool: &PgPool) -> sqlx::Result<Option<(DateTime<Utc>, Vec<Uuid>)>> {
    let rows = sqlx::query!(
        "select detected_at, violation_id from compliance.violation
         where detected_at = (select max(detected_at) from compliance.violation)"
    )
    .fetch_all(pool)
    .await?;
    let at = rows.first().map(|row| row.detected_at);
    Ok(at.map(|at| (at, rows.into_iter().map(|row| row.violation_id).collect())))
}
