use chrono::TimeDelta;

use super::Inner;
use crate::AuthError;
use crate::store;
use crate::tokens::Revocations;

/// How far back every look reads again: a transaction is seen when it commits, and its time is from when it began.
const OVERLAP: TimeDelta = TimeDelta::seconds(60);

impl Inner {
    /// Learns what other instances have changed: keys, ended sessions, roles.
    pub(crate) async fn look(&self) -> Result<(), AuthError> {
        let mut looked_at = self.looked_at.lock().await;
        let now = self.now();
        let horizon = Revocations::horizon(now);
        let since = looked_at.map_or(horizon, |at| (at - OVERLAP).max(horizon));
        let pool = &self.foundation.pool;
        self.load_keys().await?;
        for session in store::revoked_sessions(pool, since).await? {
            self.revocations.session_revoked(session.session_id, session.revoked_at);
        }
        for change in store::changed_roles(pool, since).await? {
            self.revocations.roles_changed(change.user_id, change.roles, change.changed_at);
        }
        self.revocations.looked(now);
        *looked_at = Some(now);
        Ok(())
    }
}
