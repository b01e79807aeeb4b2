use chrono::{DateTime, TimeDelta, Utc};

/// What a signing key is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// Published, so that everybody knows it by the time it signs.
    Next,
    /// Signs.
    Active,
    /// Signs no more; published until what it signed has expired.
    Retired,
}

impl KeyState {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "NEXT" => Some(Self::Next),
            "ACTIVE" => Some(Self::Active),
            "RETIRED" => Some(Self::Retired),
            _ => None,
        }
    }
}

/// What the rotation needs to know about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRecord {
    pub(crate) kid: String,
    pub(crate) state: KeyState,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) activated_at: Option<DateTime<Utc>>,
    pub(crate) retired_at: Option<DateTime<Utc>>,
}

/// When keys change their state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyPolicy {
    pub(crate) rotate_after: TimeDelta,
    pub(crate) publish_ahead: TimeDelta,
}

/// What has to be done about the keys now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyPlan {
    /// There is no key yet: make one that signs and one that will.
    Begin,
    /// The next key takes over and a new next one is made.
    Rotate,
    /// The next key is missing, for example because somebody deleted it.
    Supply,
    /// The key that signs is old, the next one too young; or somebody asked for a rotation too early.
    Wait,
    Nothing,
}

impl KeyPolicy {
    /// How long a retired key stays published: until the last token it signed has expired, and the time an instance may
    /// go on signing with it because it has not looked yet.
    const KEEP_RETIRED: TimeDelta = TimeDelta::minutes(30);

    /// What to do now; `asked` when an operator wants a rotation whatever the age.
    pub(crate) fn plan(&self, keys: &[KeyRecord], now: DateTime<Utc>, asked: bool) -> KeyPlan {
        let in_state = |state| keys.iter().find(|key| key.state == state);
        let Some(active) = in_state(KeyState::Active) else { return KeyPlan::Begin };
        let due = asked || active.activated_at.is_none_or(|since| now - since >= self.rotate_after);
        match in_state(KeyState::Next) {
            None => KeyPlan::Supply,
            Some(_) if !due => KeyPlan::Nothing,
            Some(next) if now - next.created_at >= self.publish_ahead => KeyPlan::Rotate,
            Some(_) => KeyPlan::Wait,
        }
    }

    /// Keys retired before this instant have nothing left to verify.
    pub(crate) fn obsolete_before(now: DateTime<Utc>) -> DateTime<Utc> {
        now - Self::KEEP_RETIRED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SessionPolicy;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;
    const POLICY: KeyPolicy = KeyPolicy { rotate_after: TimeDelta::days(30), publish_ahead: TimeDelta::minutes(20) };

    fn key(state: KeyState, age: TimeDelta) -> KeyRecord {
        let since = NOW - age;
        KeyRecord {
            kid: format!("{state:?}"),
            state,
            created_at: since,
            activated_at: (state != KeyState::Next).then_some(since),
            retired_at: (state == KeyState::Retired).then_some(since),
        }
    }

    #[test]
    fn a_bank_without_keys_begins() {
        assert_eq!(POLICY.plan(&[], NOW, false), KeyPlan::Begin);
        assert_eq!(POLICY.plan(&[key(KeyState::Retired, TimeDelta::zero())], NOW, true), KeyPlan::Begin);
    }

    #[test]
    fn an_old_key_is_replaced_by_one_that_was_published_long_enough() {
        let keys = |active, next| [key(KeyState::Active, active), key(KeyState::Next, next)];
        assert_eq!(POLICY.plan(&keys(TimeDelta::days(29), TimeDelta::days(29)), NOW, false), KeyPlan::Nothing);
        assert_eq!(POLICY.plan(&keys(TimeDelta::days(30), TimeDelta::days(30)), NOW, false), KeyPlan::Rotate);
        assert_eq!(POLICY.plan(&keys(TimeDelta::days(30), TimeDelta::minutes(19)), NOW, false), KeyPlan::Wait);
    }

    #[test]
    fn asking_for_a_rotation_does_not_skip_the_publication() {
        let keys = |next| [key(KeyState::Active, TimeDelta::zero()), key(KeyState::Next, next)];
        assert_eq!(POLICY.plan(&keys(TimeDelta::minutes(20)), NOW, true), KeyPlan::Rotate);
        assert_eq!(POLICY.plan(&keys(TimeDelta::minutes(19)), NOW, true), KeyPlan::Wait);
    }

    #[test]
    fn a_missing_next_key_is_supplied() {
        assert_eq!(POLICY.plan(&[key(KeyState::Active, TimeDelta::zero())], NOW, false), KeyPlan::Supply);
    }

    #[test]
    fn a_retired_key_outlives_every_token_it_signed() {
        assert!(KeyPolicy::obsolete_before(NOW) < NOW - SessionPolicy::LONGEST_ACCESS);
    }
}
