use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tracing::info;
use vostro_kernel::{ActorKind, RequestContext, Role};

use super::{Auth, Inner};
use crate::domain::{KeyPlan, KeyPolicy, KeyRecord, KeyState};
use crate::secrets::Cell;
use crate::store::{self, StoredKey};
use crate::tokens::{KeyPair, RingKey};
use crate::{AuthError, AuthErrorCode};

const COMMAND: &str = "keysRotate";

/// The keys after a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRotation {
    /// The id of the key that signs from now on.
    pub active: String,
    /// The id of the key that will.
    pub next: String,
}

impl Auth {
    /// The public keys as a JSON Web Key Set (RFC 7517), for `/.well-known/jwks.json`. May be cached for
    /// [`crate::JWKS_MAX_AGE_SECONDS`].
    pub fn jwks(&self) -> Arc<str> {
        self.inner.issuer.keys.jwks()
    }

    /// Lets the next key sign from now on, whatever the age of the one that does. Tokens that are signed stay valid.
    ///
    /// # Errors
    /// `AUTH_SCOPE_INSUFFICIENT` unless an ADMIN or the bank itself asks, `AUTH_KEY_NOT_PUBLISHED_LONG_ENOUGH` when the
    /// next key is too young, or a fault.
    pub async fn rotate_keys(&self, context: &RequestContext) -> Result<KeyRotation, AuthError> {
        let inner = &*self.inner;
        let result = inner.rotate_keys(context).await;
        inner.or_refuse(context, COMMAND, None, result).await
    }
}

impl Inner {
    async fn rotate_keys(&self, context: &RequestContext) -> Result<KeyRotation, AuthError> {
        let actor = &context.actor;
        if actor.kind != ActorKind::System && !actor.has_any(&[Role::Admin]) {
            return Err(AuthErrorCode::ScopeInsufficient.into());
        }
        if matches!(self.tend_keys(true).await?, KeyPlan::Wait | KeyPlan::Supply) {
            return Err(AuthErrorCode::KeyNotPublishedLongEnough.into());
        }
        let keys = store::signing_keys(&self.foundation.pool).await?;
        let kid = |state| keys.iter().find(|key| key.record.state == state).map(|key| key.record.kid.clone());
        match (kid(KeyState::Active), kid(KeyState::Next)) {
            (Some(active), Some(next)) => Ok(KeyRotation { active, next }),
            _ => Err(AuthError::Crypto("a signing key is missing")),
        }
    }

    /// Does what has to be done about the keys now, as the only one in all instances, and takes the result over.
    pub(crate) async fn tend_keys(&self, asked: bool) -> Result<KeyPlan, AuthError> {
        let now = self.now();
        let mut transaction = self.foundation.begin().await?;
        store::lock_keys_in_tx(&mut transaction).await?;
        let keys = store::signing_keys(&mut *transaction).await?;
        let records = keys.into_iter().map(|key| key.record).collect::<Vec<KeyRecord>>();
        let plan = self.config.keys().plan(&records, now, asked);
        match plan {
            KeyPlan::Begin => {
                // A next key without an active one has nobody to succeed; it signs at once, as it is known longest.
                store::promote_next_in_tx(&mut transaction, now).await?;
                if !records.iter().any(|key| key.state == KeyState::Next) {
                    self.insert_key_in_tx(&mut transaction, true, now).await?;
                }
                self.insert_key_in_tx(&mut transaction, false, now).await?;
            }
            KeyPlan::Rotate => {
                store::retire_active_in_tx(&mut transaction, now).await?;
                store::promote_next_in_tx(&mut transaction, now).await?;
                self.insert_key_in_tx(&mut transaction, false, now).await?;
            }
            KeyPlan::Supply => self.insert_key_in_tx(&mut transaction, false, now).await?,
            KeyPlan::Wait | KeyPlan::Nothing => {}
        }
        store::delete_obsolete_in_tx(&mut transaction, KeyPolicy::obsolete_before(now)).await?;
        transaction.commit().await?;
        self.load_keys().await?;
        if matches!(plan, KeyPlan::Begin | KeyPlan::Rotate) {
            info!(kid = self.issuer.keys.signing_kid(), "access tokens are signed with another key from now on");
        }
        Ok(plan)
    }

    async fn insert_key_in_tx(
        &self,
        connection: &mut PgConnection,
        active: bool,
        now: DateTime<Utc>,
    ) -> Result<(), AuthError> {
        let pair = KeyPair::generate()?;
        let private = secrecy::ExposeSecret::expose_secret(&pair.private);
        let sealed = self.vault.seal(Cell::SigningKey, pair.kid.as_bytes(), private);
        store::insert_key_in_tx(connection, &pair.kid, &pair.public, &sealed, active, now).await?;
        Ok(())
    }

    /// Takes the stored keys over.
    pub(crate) async fn load_keys(&self) -> Result<(), AuthError> {
        let keys = store::signing_keys(&self.foundation.pool).await?;
        let keys = keys.into_iter().map(|key| self.open_key(key)).collect::<Result<Vec<_>, _>>()?;
        self.issuer.keys.replace(&keys)
    }

    fn open_key(&self, key: StoredKey) -> Result<RingKey, AuthError> {
        let StoredKey { record: KeyRecord { kid, state, .. }, public, sealed_private } = key;
        let private = match sealed_private {
            Some(sealed) if state == KeyState::Active => {
                Some(self.vault.open(Cell::SigningKey, kid.as_bytes(), &sealed)?)
            }
            _ => None,
        };
        Ok(RingKey { kid, state, public, private })
    }
}
