use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, MutexGuard};
use tracing::warn;
use uuid::Uuid;
use vostro_kernel::{Refusal, RequestContext};
use vostro_messaging::{ContactKey, EntityCache, Foundation, NewEvent, StartError};

use crate::domain::{User, UserStatus};
use crate::manifest::MODULE;
use crate::publish::Publish;
use crate::secrets::{Cell, Passwords, Vault};
use crate::store::UserRow;
use crate::tokens::{Issuer, KeyRing, Revocations, TokenVerifier};
use crate::{AuthError, AuthErrorCode, Config};

mod keys;
mod login;
mod news;
mod profile;
mod register;
mod roles;
mod session;
mod staff;

pub use keys::KeyRotation;
pub use login::LoggedIn;
pub use profile::ProfileChange;
pub use register::{Registered, Registration};
pub use session::Tokens;
pub use staff::{NewStaff, StaffEnsured};

/// What auth can do. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) foundation: Foundation,
    pub(crate) config: Config,
    vault: Vault,
    contact_key: ContactKey,
    passwords: Passwords,
    issuer: Issuer,
    revocations: Arc<Revocations>,
    verifier: TokenVerifier,
    turns: Vec<Mutex<()>>,
    /// From when on the next look at the database has to read.
    looked_at: Mutex<Option<DateTime<Utc>>>,
    /// People for those who look at them, sealed as they are stored.
    pub(crate) seen: EntityCache<UserRow>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth")
    }
}

impl Auth {
    /// Logins that are looked at side by side. Those of one identifier take turns.
    const TURNS: usize = 256;

    /// Sets the module up; it serves after [`vostro_messaging::Module::start`]. Costs one password hash.
    ///
    /// # Errors
    /// [`StartError`] when the configuration makes no sense.
    pub fn new(foundation: Foundation, config: Config) -> Result<Self, StartError> {
        let refused = |reason: String| StartError { module: MODULE, reason };
        config.validate().map_err(refused)?;
        if config.hashes_weakly() {
            warn!(
                memory_kib = config.memory_kib,
                iterations = config.iterations,
                "passwords are hashed more cheaply than OWASP recommends; never do this with passwords of real people"
            );
        }
        let passwords = Passwords::new(config.memory_kib, config.iterations).map_err(|e| refused(e.to_string()))?;
        let issuer =
            Issuer { keys: KeyRing::default(), issuer: config.issuer.clone(), audience: config.audience.clone() };
        let revocations = Arc::new(Revocations::new(Duration::from_secs(config.stale_seconds)));
        let verifier = TokenVerifier::new(
            &issuer,
            Arc::clone(&revocations),
            Arc::clone(&foundation.clock),
            config.remembered_tokens,
        );
        let inner = Inner {
            vault: Vault::derive(&config.secret),
            contact_key: ContactKey::derive(secrecy::ExposeSecret::expose_secret(&config.contact_secret)),
            passwords,
            issuer,
            revocations,
            verifier,
            turns: std::iter::repeat_with(Mutex::default).take(Self::TURNS).collect(),
            looked_at: Mutex::new(None),
            seen: EntityCache::new(&foundation.caching),
            foundation,
            config,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Tells whom an access token speaks for; for every door of the bank.
    pub fn verifier(&self) -> TokenVerifier {
        self.inner.verifier.clone()
    }
}

impl Inner {
    fn now(&self) -> DateTime<Utc> {
        self.foundation.clock.now()
    }

    fn publish<'a>(&'a self, context: &'a RequestContext, command: &'static str, now: DateTime<Utc>) -> Publish<'a> {
        Publish::new(self.foundation.ids.as_ref(), context, command, now)
    }

    /// Records a refused command for the audit log and makes it the answer. Nothing else of the command is stored.
    async fn refuse(
        &self,
        context: &RequestContext,
        command: &'static str,
        subject: Option<Uuid>,
        refusal: impl Into<Refusal<AuthErrorCode>>,
    ) -> AuthError {
        let refusal = refusal.into();
        let event = self.publish(context, command, self.now()).refused(refusal.code, subject);
        match self.record(vec![event]).await {
            Ok(()) => refusal.into(),
            Err(error) => error.into(),
        }
    }

    /// Commits events that stand alone.
    async fn record(&self, events: Vec<NewEvent>) -> sqlx::Result<()> {
        let mut transaction = self.foundation.begin().await?;
        self.foundation.outbox.append_in_tx(&mut transaction, events).await?;
        transaction.commit().await?;
        self.foundation.outbox.committed();
        Ok(())
    }

    /// Records a refusal found before anything was written; passes faults on as they are.
    async fn or_refuse<T>(
        &self,
        context: &RequestContext,
        command: &'static str,
        subject: Option<Uuid>,
        result: Result<T, impl Into<AuthError>>,
    ) -> Result<T, AuthError> {
        match result.map_err(Into::into) {
            Err(AuthError::Refused(refusal)) => Err(self.refuse(context, command, subject, refusal).await),
            other => other,
        }
    }

    /// The person behind a stored row.
    pub(crate) fn open(&self, row: &UserRow) -> Result<User, AuthError> {
        let owner = row.id.as_bytes();
        Ok(User {
            id: row.id,
            email: self.vault.open_text(Cell::Email, owner, &row.sealed_email)?,
            display_name: self.vault.open_text(Cell::DisplayName, owner, &row.sealed_display_name)?,
            locale: row.locale.clone(),
            roles: row.roles(),
            status: UserStatus::Active,
            created_at: row.created_at,
        })
    }

    /// Waits until no other login of this bucket is being looked at in this process. Guesses at one identifier then use
    /// one core at most, and somebody's own logins at the same moment are not taken for failures.
    async fn turn(&self, bucket: &[u8; 32]) -> MutexGuard<'_, ()> {
        self.turns[usize::from(bucket[0]) % self.turns.len()].lock().await
    }
}
