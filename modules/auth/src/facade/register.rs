use secrecy::SecretString;
use uuid::Uuid;
use vostro_kernel::{Refusal, RequestContext, Role, Roles};

use super::login::Guess;
use super::{Auth, Inner};
use crate::domain::{Email, Password, User, UserStatus, Weakness, display_name, locale};
use crate::secrets::Cell;
use crate::store::{self, NewUser};
use crate::{AuthError, AuthErrorCode};

const COMMAND: &str = "userRegister";
/// In characters.
const LONGEST_KEY: usize = 128;
/// For somebody who does not say.
const DEFAULT_LOCALE: &str = "en";

/// What somebody tells to become a customer.
#[derive(Clone)]
pub struct Registration {
    pub email: String,
    pub password: SecretString,
    pub display_name: String,
    /// BCP 47 language tag; English when absent.
    pub locale: Option<String>,
    /// 1 to 128 visible ASCII characters.
    pub idempotency_key: String,
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration").field("idempotency_key", &self.idempotency_key).finish_non_exhaustive()
    }
}

/// Somebody is a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    pub user: User,
    /// The same command was carried out before; nothing happened this time.
    pub replayed: bool,
}

/// A person to be, checked and in the spelling that is stored.
pub(super) struct Person {
    pub(super) email: Email,
    pub(super) display_name: String,
    pub(super) locale: String,
    pub(super) password: Password,
}

impl Person {
    pub(super) fn check(
        email: &str,
        name: &str,
        language: Option<&str>,
        password: &SecretString,
    ) -> Result<Self, Refusal<AuthErrorCode>> {
        Ok(Self {
            email: Email::parse(email)?,
            display_name: display_name(name)?,
            locale: locale(language.unwrap_or(DEFAULT_LOCALE))?,
            password: Password::normalise(password).ok_or(Weakness::TooLong)?,
        })
    }

    /// Words that make a password of this person easy to guess.
    pub(super) fn words(&self) -> Vec<String> {
        let names = self.display_name.split_whitespace();
        [self.email.as_str(), &self.display_name]
            .into_iter()
            .chain(self.email.words())
            .chain(names)
            .map(str::to_owned)
            .collect()
    }
}

fn check_key(key: &str) -> Result<(), Refusal<AuthErrorCode>> {
    if (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Refusal::new(AuthErrorCode::IdempotencyKeyRequired).at(&["input", "idempotencyKey"]))
}

fn email_taken() -> Refusal<AuthErrorCode> {
    Refusal::new(AuthErrorCode::EmailTaken).at(&["input", "email"])
}

impl Auth {
    /// Makes somebody a customer. The same key with the same input gives the same user again.
    ///
    /// # Errors
    /// `AUTH_EMAIL_INVALID`, `AUTH_DISPLAY_NAME_INVALID`, `AUTH_LOCALE_INVALID`, `AUTH_PASSWORD_WEAK`,
    /// `AUTH_PASSWORD_BREACHED`, `AUTH_EMAIL_TAKEN`, `IDEMPOTENCY_KEY_REQUIRED`, `IDEMPOTENCY_KEY_REUSED`,
    /// `AUTH_LOCKED` (after repeating a key with wrong passwords), or a fault.
    pub async fn register(&self, context: &RequestContext, input: Registration) -> Result<Registered, AuthError> {
        let inner = &*self.inner;
        let result = inner.register(context, input).await;
        inner.or_refuse(context, COMMAND, None, result).await
    }
}

impl Inner {
    async fn register(&self, context: &RequestContext, input: Registration) -> Result<Registered, AuthError> {
        check_key(&input.idempotency_key)?;
        let person = Person::check(&input.email, &input.display_name, input.locale.as_deref(), &input.password)?;
        let fingerprint = self.vault.fingerprint(&[person.email.as_str(), &person.display_name, &person.locale]);
        let email_index = self.vault.email_index(person.email.as_str());
        // Whether the address is taken is asked before the password is hashed, to spare the work (the insert below
        // decides), and before the key: if this very command took it a moment ago, its key is visible by now.
        let taken = store::user_by_email(&self.foundation.pool, &email_index).await?.is_some();
        if let Some(replay) = self.replay(&input.idempotency_key, &fingerprint, &person).await? {
            return Ok(replay);
        }
        if taken {
            return Err(email_taken().into());
        }
        let phc = self.passwords.admit(person.password.clone(), person.words()).await?;
        let user = self.person(&person, [Role::Customer].into_iter().collect());

        let mut transaction = self.foundation.begin().await?;
        let key = &input.idempotency_key;
        if !store::claim_in_tx(&mut transaction, COMMAND, key, &fingerprint, user.id, user.created_at).await? {
            transaction.rollback().await?;
            let replay = self.replay(key, &fingerprint, &person).await?;
            return replay.ok_or(AuthErrorCode::IdempotencyKeyReused.into());
        }
        if !self.insert_in_tx(&mut transaction, &user, &email_index, &phc, None).await? {
            transaction.rollback().await?;
            return Err(email_taken().into());
        }
        let event = self.publish(context, COMMAND, user.created_at).registered(&user, &self.contact_key);
        self.foundation.outbox.append_in_tx(&mut transaction, vec![event]).await?;
        transaction.commit().await?;
        self.foundation.outbox.committed();
        Ok(Registered { user, replayed: false })
    }

    /// The result of an earlier command under this key, if there was one. Its password is compared like at a login, and
    /// failures count like failed logins: knowing the key alone shows nobody's data and is no way to guess.
    async fn replay(
        &self,
        key: &str,
        fingerprint: &[u8; 32],
        person: &Person,
    ) -> Result<Option<Registered>, AuthError> {
        let pool = &self.foundation.pool;
        let Some(claim) = store::find_claim(pool, COMMAND, key).await? else { return Ok(None) };
        let reused = || AuthError::from(AuthErrorCode::IdempotencyKeyReused);
        if claim.fingerprint != fingerprint {
            return Err(reused());
        }
        let bucket = self.vault.throttle_bucket(person.email.as_str());
        let _turn = self.turn(&bucket).await;
        let phc = store::password_hash(pool, claim.user_id).await?;
        match self.guess(&bucket, Some(person.password.clone()), phc).await? {
            Guess::Right { .. } => store::forget_failures(pool, &bucket).await?,
            Guess::Wrong => return Err(reused()),
            Guess::Blocked => return Err(AuthErrorCode::Locked.into()),
        }
        let row = store::users(pool, &[claim.user_id]).await?.pop().ok_or_else(reused)?;
        Ok(Some(Registered { user: self.open(&row)?, replayed: true }))
    }

    /// A new person with these roles.
    pub(super) fn person(&self, person: &Person, roles: Roles) -> User {
        User {
            id: self.foundation.ids.next(),
            email: person.email.as_str().to_owned(),
            display_name: person.display_name.clone(),
            locale: person.locale.clone(),
            roles,
            status: UserStatus::Active,
            created_at: self.now(),
        }
    }

    /// Stores a new person; `false` when the e-mail address is taken.
    pub(super) async fn insert_in_tx(
        &self,
        connection: &mut sqlx::PgConnection,
        user: &User,
        email_index: &[u8; 32],
        phc: &str,
        assigned_by: Option<Uuid>,
    ) -> sqlx::Result<bool> {
        let owner = user.id.as_bytes();
        let new = NewUser {
            id: user.id,
            email_index,
            sealed_email: &self.vault.seal(Cell::Email, owner, user.email.as_bytes()),
            sealed_display_name: &self.vault.seal(Cell::DisplayName, owner, user.display_name.as_bytes()),
            locale: &user.locale,
            phc,
            roles: user.roles,
            assigned_by,
            created_at: user.created_at,
        };
        store::insert_user_in_tx(connection, new).await
    }
}
