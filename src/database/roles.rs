use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{AssertSqlSafe, PgConnection};

/// The login role of a module.
pub fn role_name(module: &str) -> String {
    format!("vostro_{module}")
}

/// The password of a module's role: HMAC-SHA-256 of its name under the bank's secret, so that one secret is kept and no
/// module can compute another's.
pub(super) fn password(secret: &SecretString, module: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, module.as_bytes()))
}

/// Creates the role if it is missing and sets its password and limits. Run again after the secret was changed.
pub(super) async fn ensure(
    connection: &mut PgConnection,
    module: &'static str,
    secret: &SecretString,
) -> sqlx::Result<()> {
    let role = role_name(module);
    let exists = sqlx::query_scalar!(r#"select exists (select from pg_roles where rolname = $1) as "exists!""#, role)
        .fetch_one(&mut *connection)
        .await?;
    let verb = if exists { "alter" } else { "create" };
    // Neither part comes from outside: the module is a name in the source, the password is base64url.
    execute(connection, format!("{verb} role {role} login password '{}'", password(secret, module))).await?;
    for setting in ["statement_timeout = '30s'", "lock_timeout = '10s'", "idle_in_transaction_session_timeout = '60s'"]
    {
        execute(connection, format!("alter role {role} set {setting}")).await?;
    }
    Ok(())
}

/// Lets the module's role use its own schema, and nobody else.
pub(super) async fn grant(connection: &mut PgConnection, module: &'static str) -> sqlx::Result<()> {
    let role = role_name(module);
    for statement in [
        format!("revoke all on schema {module} from public"),
        format!("grant usage on schema {module} to {role}"),
        format!("grant select, insert, update, delete on all tables in schema {module} to {role}"),
        format!("grant usage, select on all sequences in schema {module} to {role}"),
        format!("grant execute on all functions in schema {module} to {role}"),
    ] {
        execute(connection, statement).await?;
    }
    Ok(())
}

async fn execute(connection: &mut PgConnection, statement: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}
