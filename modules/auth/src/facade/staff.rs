use secrecy::SecretString;
use vostro_kernel::{ActorKind, RequestContext, Role, Roles};

use super::register::Person;
use super::{Auth, Inner};
use crate::domain::User;
use crate::store;
use crate::{AuthError, AuthErrorCode};

const COMMAND: &str = "staffEnsure";

/// Somebody who works for the bank.
#[derive(Clone)]
pub struct NewStaff {
    pub email: String,
    /// Theirs until they choose another one; ignored when they have an account already.
    pub password: SecretString,
    pub display_name: String,
    /// BCP 47 language tag; English when absent.
    pub locale: Option<String>,
    /// At least one staff role.
    pub roles: Roles,
}

impl NewStaff {
    /// The first administrator, who can then give roles to others.
    pub fn admin(email: impl Into<String>, password: SecretString, display_name: impl Into<String>) -> Self {
        Self {
            email: email.into(),
            password,
            display_name: display_name.into(),
            locale: None,
            roles: [Role::Admin].into_iter().collect(),
        }
    }
}

impl std::fmt::Debug for NewStaff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewStaff").field("roles", &self.roles).finish_non_exhaustive()
    }
}

/// Somebody of the bank has an account with the roles asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaffEnsured {
    pub user: User,
    /// The account is new.
    pub created: bool,
    /// The roles that were not there before.
    pub given: Roles,
}

impl Auth {
    /// Makes sure that somebody of the bank has an account with these roles. Doing it again does nothing: an account
    /// that exists keeps its password and its name, and gets the roles it lacks. For the command line, not for
    /// clients.
    ///
    /// # Errors
    /// `AUTH_SCOPE_INSUFFICIENT` unless the bank itself asks, `AUTH_ROLE_INVALID`, those of [`Auth::register`], or a
    /// fault.
    pub async fn staff_ensure(&self, context: &RequestContext, staff: NewStaff) -> Result<StaffEnsured, AuthError> {
        let inner = &*self.inner;
        let result = inner.staff_ensure(context, staff).await;
        inner.or_refuse(context, COMMAND, None, result).await
    }
}

impl Inner {
    async fn staff_ensure(&self, context: &RequestContext, staff: NewStaff) -> Result<StaffEnsured, AuthError> {
        if context.actor.kind != ActorKind::System {
            return Err(AuthErrorCode::ScopeInsufficient.into());
        }
        if !staff.roles.is_staff() {
            return Err(AuthErrorCode::RoleInvalid.into());
        }
        let person = Person::check(&staff.email, &staff.display_name, staff.locale.as_deref(), &staff.password)?;
        let email_index = self.vault.email_index(person.email.as_str());
        let existing = store::user_by_email(&self.foundation.pool, &email_index).await?;
        if existing.is_none()
            && let Some(created) = self.create_staff(context, &person, &email_index, staff.roles).await?
        {
            return Ok(created);
        }
        let user_id = match existing {
            Some(user_id) => user_id,
            // Somebody else has just created the account.
            None => {
                store::user_by_email(&self.foundation.pool, &email_index).await?.ok_or(AuthErrorCode::UserNotFound)?
            }
        };
        let mut transaction = self.foundation.begin().await?;
        let given = self.give_in_tx(&mut transaction, context, COMMAND, user_id, staff.roles).await?;
        transaction.commit().await?;
        self.roles_given(&given);
        Ok(StaffEnsured { user: given.user, created: false, given: given.missing })
    }

    /// `None` when the e-mail address has been taken meanwhile.
    async fn create_staff(
        &self,
        context: &RequestContext,
        person: &Person,
        email_index: &[u8; 32],
        roles: Roles,
    ) -> Result<Option<StaffEnsured>, AuthError> {
        let phc = self.passwords.admit(person.password.clone(), person.words()).await?;
        let user = self.person(person, roles);
        let mut transaction = self.foundation.begin().await?;
        if !self.insert_in_tx(&mut transaction, &user, email_index, &phc, context.actor.id).await? {
            transaction.rollback().await?;
            return Ok(None);
        }
        let event = self.publish(context, COMMAND, user.created_at).registered(&user, &self.contact_key);
        self.foundation.outbox.append_in_tx(&mut transaction, vec![event]).await?;
        transaction.commit().await?;
        self.foundation.outbox.committed();
        Ok(Some(StaffEnsured { user, created: true, given: roles }))
    }
}
