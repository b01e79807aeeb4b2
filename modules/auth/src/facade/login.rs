use metrics::counter;
use secrecy::SecretString;
use uuid::Uuid;
use vostro_kernel::RequestContext;

use super::session::Tokens;
use super::{Auth, Inner};
use crate::domain::{Password, User, identifier};
use crate::secrets::Verdict;
use crate::store::{self, Attempt};
use crate::{AuthError, AuthErrorCode};

const COMMAND: &str = "login";

/// Somebody has logged in.
#[derive(Debug, Clone)]
pub struct LoggedIn {
    pub tokens: Tokens,
    pub user: User,
}

impl Auth {
    /// Opens a session for somebody who knows the password. For a wrong password and for an address nobody has, the
    /// answer, the work done and what is recorded are the same.
    ///
    /// # Errors
    /// `AUTH_INVALID_CREDENTIALS`, `AUTH_LOCKED`, or a fault.
    pub async fn login(
        &self,
        context: &RequestContext,
        email: &str,
        password: &SecretString,
    ) -> Result<LoggedIn, AuthError> {
        let result = self.inner.login(context, email, password).await;
        let outcome = match &result {
            Ok(_) => "accepted",
            Err(AuthError::Refused(_)) => "refused",
            Err(_) => "failed",
        };
        counter!("vostro_logins_total", "outcome" => outcome).increment(1);
        result
    }
}

/// What became of a guess at a password.
pub(super) enum Guess {
    /// It was not looked at.
    Blocked,
    Wrong,
    /// Forget the failures before it.
    Right {
        /// The stored hash was made with other parameters than the configured ones.
        outdated: bool,
    },
}

/// What a right password was compared with.
struct Known {
    user_id: Uuid,
    phc: String,
    bucket: [u8; 32],
    /// The hash to store instead, when the parameters have changed since.
    rehashed: Option<String>,
}

impl Inner {
    async fn login(
        &self,
        context: &RequestContext,
        email: &str,
        password: &SecretString,
    ) -> Result<LoggedIn, AuthError> {
        let identifier = identifier(email);
        let bucket = self.vault.throttle_bucket(&identifier);
        let password = Password::normalise(password);
        let _turn = self.turn(&bucket).await;
        let known = store::credential(&self.foundation.pool, &self.vault.email_index(&identifier)).await?;
        let (user_id, phc) = known.map(|known| (known.user_id, known.phc)).unzip();
        match (self.guess(&bucket, password.clone(), phc.clone()).await?, user_id, phc, password) {
            (Guess::Right { outdated }, Some(user_id), Some(phc), Some(password)) => {
                // A busy machine is no reason not to let somebody in; the next login will do.
                let rehashed = if outdated { self.passwords.rehash(password).await.ok() } else { None };
                self.open_session(context, Known { user_id, phc, bucket, rehashed }).await
            }
            (Guess::Blocked, user_id, ..) => Err(self.refuse(context, COMMAND, user_id, AuthErrorCode::Locked).await),
            (_, user_id, ..) => Err(self.refuse(context, COMMAND, user_id, AuthErrorCode::InvalidCredentials).await),
        }
    }

    /// Looks at a password, if guesses at this identifier may be looked at now. Take a [`Inner::turn`] first and keep
    /// it until the failures are forgotten.
    pub(super) async fn guess(
        &self,
        bucket: &[u8; 32],
        password: Option<Password>,
        phc: Option<String>,
    ) -> Result<Guess, AuthError> {
        // Before the attempt is counted: one that is never looked at is no failure.
        let place = self.passwords.queue_up()?;
        let attempt = store::count_attempt(&self.foundation.pool, bucket, self.now(), &self.config.lockout()).await?;
        if attempt == Attempt::Blocked {
            return Ok(Guess::Blocked);
        }
        Ok(match self.passwords.check(place, password, phc).await? {
            Verdict::Right { outdated } => Guess::Right { outdated },
            Verdict::Wrong => Guess::Wrong,
        })
    }

    async fn open_session(&self, context: &RequestContext, known: Known) -> Result<LoggedIn, AuthError> {
        let now = self.now();
        let user_id = known.user_id;
        let mut transaction = self.foundation.begin().await?;
        store::forget_failures(&mut *transaction, &known.bucket).await?;
        if let Some(new) = &known.rehashed {
            store::replace_password_in_tx(&mut transaction, user_id, &known.phc, new, now).await?;
        }
        let sequence = store::next_sequence_in_tx(&mut transaction, user_id).await?;
        let row = store::users(&mut *transaction, &[user_id]).await?.pop();
        let (Some(sequence), Some(row)) = (sequence, row) else { return Err(sqlx::Error::RowNotFound.into()) };
        let user = self.open(&row)?;
        let (session, tokens) = self.begin_session_in_tx(&mut transaction, user_id, user.roles, now).await?;
        let event = self.publish(context, COMMAND, now).logged_in(user_id, session, sequence);
        self.foundation.outbox.append_in_tx(&mut transaction, vec![event]).await?;
        transaction.commit().await?;
        self.foundation.outbox.committed();
        Ok(LoggedIn { tokens, user })
    }
}
