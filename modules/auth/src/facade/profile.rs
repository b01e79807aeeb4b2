use uuid::Uuid;
use vostro_kernel::RequestContext;

use super::{Auth, Inner};
use crate::domain::{User, display_name, locale};
use crate::secrets::Cell;
use crate::store;
use crate::{AuthError, AuthErrorCode};

const COMMAND: &str = "profileUpdate";

/// What somebody wants to change about themselves; what is `None` stays.
#[derive(Clone, Default)]
pub struct ProfileChange {
    pub display_name: Option<String>,
    /// BCP 47 language tag.
    pub locale: Option<String>,
}

impl std::fmt::Debug for ProfileChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProfileChange").field("locale", &self.locale).finish_non_exhaustive()
    }
}

impl Auth {
    /// Whoever makes the request; `None` for nobody.
    ///
    /// # Errors
    /// A fault.
    pub async fn me(&self, context: &RequestContext) -> Result<Option<User>, AuthError> {
        match context.actor.id {
            Some(id) => Ok(self.users_by_id(context, &[id]).await?.pop()),
            None => Ok(None),
        }
    }

    /// Those of the users that exist and that the caller may see: staff see everybody, others themselves. In no
    /// particular order, as they were a moment ago: for looking at, not for deciding
    /// ([`vostro_messaging::EntityCache`]).
    ///
    /// # Errors
    /// A fault.
    pub async fn users_by_id(&self, context: &RequestContext, ids: &[Uuid]) -> Result<Vec<User>, AuthError> {
        let actor = &context.actor;
        let visible = ids.iter().copied().filter(|id| actor.roles.is_staff() || actor.is(*id)).collect::<Vec<_>>();
        if visible.is_empty() {
            return Ok(Vec::new());
        }
        let ask = async |ids: Vec<Uuid>| store::users(&self.inner.foundation.pool, &ids).await;
        let rows = self.inner.seen.read(&visible, ask).await?;
        rows.iter().map(|row| self.inner.open(row)).collect()
    }

    /// Changes what the bank calls somebody and the language it writes to them in. A change to what is there already is
    /// no event.
    ///
    /// # Errors
    /// `AUTH_DISPLAY_NAME_INVALID`, `AUTH_LOCALE_INVALID`, `AUTH_SESSION_MISSING`, or a fault.
    pub async fn profile_update(&self, context: &RequestContext, change: ProfileChange) -> Result<User, AuthError> {
        let inner = &*self.inner;
        let result = inner.profile_update(context, change).await;
        inner.or_refuse(context, COMMAND, context.actor.id, result).await
    }
}

impl Inner {
    async fn profile_update(&self, context: &RequestContext, change: ProfileChange) -> Result<User, AuthError> {
        let user_id = context.actor.id.ok_or(AuthErrorCode::SessionMissing)?;
        let name = change.display_name.as_deref().map(display_name).transpose()?;
        let language = change.locale.as_deref().map(locale).transpose()?;

        let mut transaction = self.foundation.begin().await?;
        let row = store::lock_user_in_tx(&mut transaction, user_id).await?.ok_or(AuthErrorCode::UserNotFound)?;
        let mut user = self.open(&row)?;
        let mut changed = Vec::with_capacity(2);
        if let Some(name) = name.filter(|name| *name != user.display_name) {
            user.display_name = name;
            changed.push("displayName");
        }
        if let Some(language) = language.filter(|language| *language != user.locale) {
            user.locale = language;
            changed.push("locale");
        }
        if changed.is_empty() {
            return Ok(user);
        }
        let _changing = self.seen.changing(vec![user_id]);
        let sealed = self.vault.seal(Cell::DisplayName, user_id.as_bytes(), user.display_name.as_bytes());
        let sequence = store::update_profile_in_tx(&mut transaction, user_id, &sealed, &user.locale).await?;
        let publish = self.publish(context, COMMAND, self.now());
        let event = publish.updated(&user, &self.contact_key, &changed, sequence);
        self.foundation.outbox.append_in_tx(&mut transaction, vec![event]).await?;
        transaction.commit().await?;
        self.foundation.outbox.committed();
        Ok(user)
    }
}
