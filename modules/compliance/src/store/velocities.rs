use std::collections::HashMap;

use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::domain::Velocity;

/// What these accounts paid out lately. Accounts nothing is known of are absent.
///
/// # Errors
/// Database faults.
pub async fn load_in_tx(connection: &mut PgConnection, accounts: &[Uuid]) -> sqlx::Result<HashMap<Uuid, Velocity>> {
    let rows = sqlx::query!(
        r#"select account_id, state as "state: Json<Velocity>" from compliance.velocity where account_id = any($1)"#,
        accounts
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.state.0)).collect())
}

/// Remembers it.
///
/// # Errors
/// Database faults.
pub async fn save_in_tx(connection: &mut PgConnection, velocities: &HashMap<Uuid, Velocity>) -> sqlx::Result<()> {
    let text = |velocity| serde_json::to_string(velocity).expect("numbers in lists always serialise");
    let (accounts, states): (Vec<Uuid>, Vec<String>) =
        velocities.iter().map(|(account, velocity)| (*account, text(velocity))).unzip();
    sqlx::query!(
        "insert into compliance.velocity (account_id, state)
         select account_id, state::json from unnest($1::uuid[], $2::text[]) as new(account_id, state)
         on conflict (account_id) do update set state = excluded.state",
        &accounts,
        &states
    )
    .execute(connection)
    .await?;
    Ok(())
}
