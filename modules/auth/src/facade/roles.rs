use sqlx::PgConnection;
use uuid::Uuid;
use vostro_kernel::{RequestContext, Role, Roles};
use vostro_messaging::Changing;

use super::{Auth, Inner};
use crate::domain::User;
use crate::store::{self, UserRow};
use crate::{AuthError, AuthErrorCode};

const COMMAND: &str = "roleAssign";

impl Auth {
    /// Gives somebody a role. It counts at once in this process and within a poll in others, for tokens that are signed
    /// already too. A role somebody has already is no event.
    ///
    /// # Errors
    /// `AUTH_SCOPE_INSUFFICIENT` unless an ADMIN asks, `AUTH_USER_NOT_FOUND`, or a fault.
    pub async fn role_assign(&self, context: &RequestContext, user_id: Uuid, role: Role) -> Result<User, AuthError> {
        let inner = &*self.inner;
        let result = inner.role_assign(context, user_id, role).await;
        inner.or_refuse(context, COMMAND, Some(user_id), result).await
    }
}

impl Inner {
    async fn role_assign(&self, context: &RequestContext, user_id: Uuid, role: Role) -> Result<User, AuthError> {
        if !context.actor.has_any(&[Role::Admin]) {
            return Err(AuthErrorCode::ScopeInsufficient.into());
        }
        let mut transaction = self.foundation.begin().await?;
        let given = self.give_in_tx(&mut transaction, context, COMMAND, user_id, [role].into_iter().collect()).await?;
        transaction.commit().await?;
        self.roles_given(&given);
        Ok(given.user)
    }

    /// Gives a person the roles of `wanted` they do not have yet, and tells it.
    pub(super) async fn give_in_tx(
        &self,
        connection: &mut PgConnection,
        context: &RequestContext,
        command: &'static str,
        user_id: Uuid,
        wanted: Roles,
    ) -> Result<Given, AuthError> {
        let row = store::lock_user_in_tx(connection, user_id).await?.ok_or(AuthErrorCode::UserNotFound)?;
        let before = row.roles();
        let missing: Roles = wanted.iter().filter(|role| !before.contains(*role)).collect();
        let mut user = self.open(&row)?;
        if missing == Roles::NONE {
            return Ok(Given { user, missing, _changing: None });
        }
        let changing = self.seen.changing(vec![user_id]);
        let now = self.now();
        let by = context.actor.id;
        let sequence = store::assign_roles_in_tx(connection, user_id, missing, by, now).await?;
        user.roles = before.iter().chain(missing.iter()).collect();
        let events = self.publish(context, command, now).roles_assigned(user_id, before, missing, sequence);
        self.foundation.outbox.append_in_tx(connection, events).await?;
        Ok(Given { user, missing, _changing: Some(changing) })
    }

    /// Call after the commit: tokens that are signed already get the new roles from now on.
    pub(super) fn roles_given(&self, given: &Given) {
        if given.missing != Roles::NONE {
            self.revocations.roles_changed(given.user.id, given.user.roles, self.now());
            self.foundation.outbox.committed();
        }
    }
}

/// A person after roles were given. Keep it until the outcome of the commit is there.
pub(super) struct Given {
    pub(super) user: User,
    /// The roles that were not there before.
    pub(super) missing: Roles,
    _changing: Option<Changing<UserRow>>,
}
