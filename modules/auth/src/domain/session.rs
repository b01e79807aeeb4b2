use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::AuthErrorCode;

/// How long the parts of a session live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionPolicy {
    pub(crate) access: TimeDelta,
    pub(crate) idle: TimeDelta,
    pub(crate) absolute: TimeDelta,
}

impl SessionPolicy {
    /// The most an access token may live, whatever the configuration says. Revocations are remembered this long.
    pub(crate) const LONGEST_ACCESS: TimeDelta = TimeDelta::minutes(15);

    /// When a session that starts now ends at the latest.
    pub(crate) fn session_end(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now + self.absolute
    }

    /// When a refresh token issued now expires: nothing outlives its session.
    pub(crate) fn refresh_end(&self, now: DateTime<Utc>, session_end: DateTime<Utc>) -> DateTime<Utc> {
        session_end.min(now + self.idle)
    }

    pub(crate) fn access_end(&self, now: DateTime<Utc>, session_end: DateTime<Utc>) -> DateTime<Utc> {
        session_end.min(now + self.access.min(Self::LONGEST_ACCESS))
    }
}

/// What is known about a refresh token that could not be exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RefreshRecord {
    pub(crate) session_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) used: bool,
    /// Of the token or its session, whichever is earlier.
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) revoked: bool,
}

/// Why a refresh token could not be exchanged, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefreshOutcome {
    /// It was used before: either it or its answer is in wrong hands, so the whole session ends.
    Reused { session_id: Uuid, user_id: Uuid },
    /// Nothing follows. The person is known unless the token is not.
    Refused { code: AuthErrorCode, user_id: Option<Uuid> },
}

impl RefreshOutcome {
    /// Looks at a token that was presented and not exchanged. Whether it was used counts before all else: a thief must
    /// not profit from the token having expired meanwhile.
    pub(crate) fn of(record: Option<RefreshRecord>, now: DateTime<Utc>) -> Self {
        let Some(record) = record else {
            return Self::Refused { code: AuthErrorCode::TokenInvalid, user_id: None };
        };
        if record.used {
            return Self::Reused { session_id: record.session_id, user_id: record.user_id };
        }
        let expired = !record.revoked && record.expires_at <= now;
        let code = if expired { AuthErrorCode::TokenExpired } else { AuthErrorCode::TokenInvalid };
        Self::Refused { code, user_id: Some(record.user_id) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn record() -> RefreshRecord {
        RefreshRecord {
            session_id: Uuid::from_u128(1),
            user_id: Uuid::from_u128(2),
            used: false,
            expires_at: NOW + TimeDelta::hours(1),
            revoked: false,
        }
    }

    #[test]
    fn nothing_outlives_its_session() {
        let policy =
            SessionPolicy { access: TimeDelta::minutes(10), idle: TimeDelta::days(14), absolute: TimeDelta::days(90) };
        let end = policy.session_end(NOW);
        assert_eq!(policy.refresh_end(NOW, end), NOW + TimeDelta::days(14));
        assert_eq!(policy.access_end(NOW, end), NOW + TimeDelta::minutes(10));
        let late = end - TimeDelta::minutes(1);
        assert_eq!(policy.refresh_end(late, end), end);
        assert_eq!(policy.access_end(late, end), end);
    }

    #[test]
    fn no_access_token_lives_longer_than_revocations_are_remembered() {
        let policy =
            SessionPolicy { access: TimeDelta::days(1), idle: TimeDelta::days(2), absolute: TimeDelta::days(3) };
        assert_eq!(policy.access_end(NOW, policy.session_end(NOW)), NOW + SessionPolicy::LONGEST_ACCESS);
    }

    #[test]
    fn a_used_token_is_reuse_even_when_it_has_expired_or_its_session_ended() {
        let reused = RefreshOutcome::Reused { session_id: Uuid::from_u128(1), user_id: Uuid::from_u128(2) };
        let used = RefreshRecord { used: true, ..record() };
        assert_eq!(RefreshOutcome::of(Some(used), NOW), reused);
        assert_eq!(RefreshOutcome::of(Some(RefreshRecord { expires_at: NOW, ..used }), NOW), reused);
        assert_eq!(RefreshOutcome::of(Some(RefreshRecord { revoked: true, ..used }), NOW), reused);
    }

    #[test]
    fn other_tokens_are_expired_or_invalid() {
        let refused = |record| match RefreshOutcome::of(record, NOW) {
            RefreshOutcome::Refused { code, .. } => code,
            RefreshOutcome::Reused { .. } => panic!("not used"),
        };
        assert_eq!(refused(None), AuthErrorCode::TokenInvalid);
        assert_eq!(refused(Some(RefreshRecord { expires_at: NOW, ..record() })), AuthErrorCode::TokenExpired);
        assert_eq!(refused(Some(RefreshRecord { revoked: true, ..record() })), AuthErrorCode::TokenInvalid);
    }
}
