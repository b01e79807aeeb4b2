use chrono::{DateTime, Utc};
use metrics::counter;
use secrecy::SecretString;
use sqlx::PgConnection;
use uuid::Uuid;
use vostro_events::auth::RevocationReason;
use vostro_kernel::{RequestContext, Roles};

use super::{Auth, Inner};
use crate::domain::RefreshOutcome;
use crate::secrets::RefreshToken;
use crate::store::{self, NewRefreshToken, NewSession};
use crate::tokens::TokenSubject;
use crate::{AuthError, AuthErrorCode};

const REFRESH: &str = "tokenRefresh";
const LOGOUT: &str = "logout";

/// What a client holds while somebody is logged in. Secrets are not printed.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// A signed token for the `Authorization` header.
    pub access_token: SecretString,
    /// An opaque token that is exchanged, once, for the next pair.
    pub refresh_token: SecretString,
    /// When the access token expires.
    pub expires_at: DateTime<Utc>,
}

impl Tokens {
    /// How the access token is presented (RFC 6750).
    pub const TYPE: &'static str = "Bearer";
}

impl Auth {
    /// Exchanges a refresh token for the next pair of tokens. A token that comes a second time ends its session: it was
    /// stolen, or its answer was.
    ///
    /// # Errors
    /// `AUTH_TOKEN_INVALID`, `AUTH_TOKEN_EXPIRED`, `AUTH_TOKEN_REUSED`, or a fault.
    pub async fn refresh(&self, context: &RequestContext, refresh_token: &SecretString) -> Result<Tokens, AuthError> {
        let inner = &*self.inner;
        match RefreshToken::parse(refresh_token) {
            Some(token) => inner.refresh(context, &token).await,
            None => Err(inner.refuse(context, REFRESH, None, AuthErrorCode::TokenInvalid).await),
        }
    }

    /// Ends the session the request belongs to. `false` when it had ended already.
    ///
    /// # Errors
    /// `AUTH_SESSION_MISSING` for a request that belongs to none, or a fault.
    pub async fn logout(&self, context: &RequestContext) -> Result<bool, AuthError> {
        let inner = &*self.inner;
        let Some(session_id) = context.actor.session else {
            return Err(inner.refuse(context, LOGOUT, context.actor.id, AuthErrorCode::SessionMissing).await);
        };
        inner.end_session(context, LOGOUT, session_id, RevocationReason::Logout, None).await
    }
}

impl Inner {
    /// Stores a new session with its first refresh token and signs its first access token.
    pub(super) async fn begin_session_in_tx(
        &self,
        connection: &mut PgConnection,
        user_id: Uuid,
        roles: Roles,
        now: DateTime<Utc>,
    ) -> Result<(Uuid, Tokens), AuthError> {
        let id = self.foundation.ids.next();
        let expires_at = self.config.sessions().session_end(now);
        store::insert_session_in_tx(connection, &NewSession { id, user_id, created_at: now, expires_at }).await?;
        let subject = TokenSubject { user_id, session_id: id, roles };
        let tokens = self.next_tokens_in_tx(connection, &subject, now, expires_at).await?;
        Ok((id, tokens))
    }

    async fn next_tokens_in_tx(
        &self,
        connection: &mut PgConnection,
        subject: &TokenSubject,
        now: DateTime<Utc>,
        session_end: DateTime<Utc>,
    ) -> Result<Tokens, AuthError> {
        let policy = self.config.sessions();
        let refresh = RefreshToken::fresh()?;
        let stored = NewRefreshToken {
            digest: refresh.digest(),
            session_id: subject.session_id,
            issued_at: now,
            expires_at: policy.refresh_end(now, session_end),
        };
        store::insert_refresh_token_in_tx(connection, &stored).await?;
        let expires_at = policy.access_end(now, session_end);
        let access_token = self.issuer.issue(subject, self.foundation.ids.next(), now, expires_at)?;
        Ok(Tokens { access_token, refresh_token: refresh.into_secret(), expires_at })
    }

    async fn refresh(&self, context: &RequestContext, token: &RefreshToken) -> Result<Tokens, AuthError> {
        let (digest, now) = (token.digest(), self.now());
        let mut transaction = self.foundation.begin().await?;
        let Some(exchanged) = store::exchange_in_tx(&mut transaction, &digest, now).await? else {
            transaction.rollback().await?;
            return Err(self.not_exchanged(context, &digest, now).await?);
        };
        let (user_id, session_id) = (exchanged.user_id, exchanged.session_id);
        let sequence = store::next_sequence_in_tx(&mut transaction, user_id).await?;
        let row = store::users(&mut *transaction, &[user_id]).await?.pop();
        let (Some(sequence), Some(row)) = (sequence, row) else { return Err(sqlx::Error::RowNotFound.into()) };
        let subject = TokenSubject { user_id, session_id, roles: row.roles() };
        let tokens = self.next_tokens_in_tx(&mut transaction, &subject, now, exchanged.session_end).await?;
        let event = self.publish(context, REFRESH, now).refreshed(user_id, session_id, sequence);
        self.foundation.outbox.append_in_tx(&mut transaction, vec![event]).await?;
        transaction.commit().await?;
        self.foundation.outbox.committed();
        Ok(tokens)
    }

    /// Finds out why a token was not exchanged, and ends its session when it was used before.
    async fn not_exchanged(
        &self,
        context: &RequestContext,
        digest: &[u8; 32],
        now: DateTime<Utc>,
    ) -> Result<AuthError, AuthError> {
        match RefreshOutcome::of(store::inspect(&self.foundation.pool, digest).await?, now) {
            RefreshOutcome::Refused { code, user_id } => Ok(self.refuse(context, REFRESH, user_id, code).await),
            RefreshOutcome::Reused { session_id, user_id } => {
                counter!("vostro_refresh_token_reuse_total").increment(1);
                let code = AuthErrorCode::TokenReused;
                let refused = Some((code, user_id));
                self.end_session(context, REFRESH, session_id, RevocationReason::ReuseDetected, refused).await?;
                Ok(code.into())
            }
        }
    }

    /// Ends a session and everything signed for it, in this process at once. `refused` is recorded in the same
    /// transaction, whether or not the session was still alive.
    async fn end_session(
        &self,
        context: &RequestContext,
        command: &'static str,
        session_id: Uuid,
        reason: RevocationReason,
        refused: Option<(AuthErrorCode, Uuid)>,
    ) -> Result<bool, AuthError> {
        let now = self.now();
        let publish = self.publish(context, command, now);
        let mut events = Vec::with_capacity(2);
        let mut transaction = self.foundation.begin().await?;
        let owner = store::revoke_in_tx(&mut transaction, session_id, reason, now).await?;
        if let Some(user_id) = owner {
            let sequence = store::next_sequence_in_tx(&mut transaction, user_id).await?;
            let sequence = sequence.ok_or(sqlx::Error::RowNotFound)?;
            events.push(publish.revoked(user_id, session_id, reason, sequence));
        }
        if let Some((code, user_id)) = refused {
            events.push(publish.refused(code, Some(user_id)));
        }
        self.foundation.outbox.append_in_tx(&mut transaction, events).await?;
        transaction.commit().await?;
        self.revocations.session_revoked(session_id, now);
        self.foundation.outbox.committed();
        Ok(owner.is_some())
    }
}
