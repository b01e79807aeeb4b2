use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;
use vostro_kernel::Roles;

use crate::domain::SessionPolicy;

/// What has happened to sessions and roles since tokens were signed. Told by this process at once and by the database
/// at every poll; entries are kept for as long as a token signed before them can live.
pub(crate) struct Revocations {
    sessions: RwLock<HashMap<Uuid, DateTime<Utc>>>,
    roles: RwLock<HashMap<Uuid, RoleChange>>,
    began: Instant,
    /// Milliseconds from `began` to the end of the newest complete look at the database, plus one; 0 before the first.
    looked: AtomicU64,
    stale_after: Duration,
}

#[derive(Debug, Clone, Copy)]
struct RoleChange {
    roles: Roles,
    changed_at: DateTime<Utc>,
}

impl Revocations {
    /// How long news are kept: the longest life of a token, and a minute for clocks that differ.
    const KEPT: TimeDelta = TimeDelta::minutes(16);

    pub(crate) fn new(stale_after: Duration) -> Self {
        Self {
            sessions: RwLock::default(),
            roles: RwLock::default(),
            began: Instant::now(),
            looked: AtomicU64::new(0),
            stale_after,
        }
    }

    /// From when on the database has to be read for the first look.
    pub(crate) fn horizon(now: DateTime<Utc>) -> DateTime<Utc> {
        now - Self::KEPT
    }

    pub(crate) fn session_revoked(&self, session_id: Uuid, revoked_at: DateTime<Utc>) {
        self.sessions.write().unwrap_or_else(PoisonError::into_inner).insert(session_id, revoked_at);
    }

    pub(crate) fn roles_changed(&self, user_id: Uuid, roles: Roles, changed_at: DateTime<Utc>) {
        let mut known = self.roles.write().unwrap_or_else(PoisonError::into_inner);
        let change = known.entry(user_id).or_insert(RoleChange { roles, changed_at });
        // A poll that began before a change must not undo what this process knows about it already.
        if changed_at >= change.changed_at {
            *change = RoleChange { roles, changed_at };
        }
    }

    /// The database has been read completely; forgets what is too old to matter.
    pub(crate) fn looked(&self, now: DateTime<Utc>) {
        let horizon = Self::horizon(now);
        self.sessions.write().unwrap_or_else(PoisonError::into_inner).retain(|_, revoked_at| *revoked_at > horizon);
        self.roles.write().unwrap_or_else(PoisonError::into_inner).retain(|_, change| change.changed_at > horizon);
        self.looked.store(self.elapsed() + 1, Ordering::Release);
    }

    /// Whether the news are recent enough to accept a token by.
    pub(super) fn are_fresh(&self) -> bool {
        match self.looked.load(Ordering::Acquire) {
            0 => false,
            looked => u128::from(self.elapsed().saturating_sub(looked - 1)) <= self.stale_after.as_millis(),
        }
    }

    pub(super) fn is_revoked(&self, session_id: Uuid) -> bool {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner).contains_key(&session_id)
    }

    /// The roles of a person, when they changed while tokens with other ones are alive.
    pub(super) fn roles_of(&self, user_id: Uuid) -> Option<Roles> {
        self.roles.read().unwrap_or_else(PoisonError::into_inner).get(&user_id).map(|change| change.roles)
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

// The horizon must not be shorter than what it is made for.
const _: () = assert!(Revocations::KEPT.num_seconds() > SessionPolicy::LONGEST_ACCESS.num_seconds());

#[cfg(test)]
mod tests {
    use super::*;
    use vostro_kernel::Role;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn roles(roles: &[Role]) -> Roles {
        roles.iter().copied().collect()
    }

    #[test]
    fn nothing_is_known_before_the_first_look_and_too_long_after_the_last() {
        let revocations = Revocations::new(Duration::from_secs(3600));
        assert!(!revocations.are_fresh());
        revocations.looked(NOW);
        assert!(revocations.are_fresh());

        let impatient =
            Revocations { began: Instant::now() - Duration::from_secs(60), ..Revocations::new(Duration::ZERO) };
        impatient.looked.store(1, Ordering::Release);
        assert!(!impatient.are_fresh());
    }

    #[test]
    fn a_revocation_is_forgotten_when_no_token_can_need_it() {
        let revocations = Revocations::new(Duration::from_secs(10));
        let session = Uuid::now_v7();
        revocations.session_revoked(session, NOW);
        revocations.looked(NOW + TimeDelta::minutes(15));
        assert!(revocations.is_revoked(session));
        revocations.looked(NOW + TimeDelta::minutes(16));
        assert!(!revocations.is_revoked(session));
    }

    #[test]
    fn an_older_look_does_not_undo_a_newer_role() {
        let revocations = Revocations::new(Duration::from_secs(10));
        let user = Uuid::now_v7();
        revocations.roles_changed(user, roles(&[Role::Operator]), NOW + TimeDelta::seconds(1));
        revocations.roles_changed(user, roles(&[Role::Customer]), NOW);
        assert_eq!(revocations.roles_of(user), Some(roles(&[Role::Operator])));
        revocations.roles_changed(user, roles(&[Role::Admin]), NOW + TimeDelta::seconds(2));
        assert_eq!(revocations.roles_of(user), Some(roles(&[Role::Admin])));
        assert_eq!(revocations.roles_of(Uuid::now_v7()), None);
    }
}
