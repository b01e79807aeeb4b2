use chrono::TimeDelta;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::domain::{KeyPolicy, LockoutPolicy, SessionPolicy};

/// How auth is set up. Secrets are never printed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What the keys for stored personal data, blind indexes and signing keys are derived from; at least 32 characters.
    /// Losing it makes the stored users unreadable.
    pub secret: SecretString,
    /// What the key for contact data in events is derived from; the same in every module that writes to people.
    pub contact_secret: SecretString,
    /// `iss` of access tokens.
    pub issuer: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// Life of an access token, in minutes, 1 to 15.
    pub access_token_minutes: u32,
    /// How long a session may rest before its refresh token expires, in days.
    pub refresh_token_days: u32,
    /// How long a session lives at most, however often it is refreshed, in days.
    pub session_days: u32,
    /// Memory of one Argon2id computation, in KiB.
    pub memory_kib: u32,
    /// Passes of Argon2id over that memory.
    pub iterations: u32,
    /// Allows Argon2id parameters below the OWASP minimum (19 MiB, 2 passes). For tests and demonstrations only.
    pub allow_weak_hashing: bool,
    /// Failed logins within the window after which an identifier is blocked.
    pub lockout_failures: u32,
    /// The window, in minutes.
    pub lockout_window_minutes: u32,
    /// The first block, in seconds; every further failure doubles it.
    pub lockout_first_seconds: u32,
    /// The longest block, in seconds.
    pub lockout_longest_seconds: u32,
    /// Age at which a signing key is replaced, in days.
    pub key_rotation_days: u32,
    /// How long a key is published before it may sign, in seconds. Twice the time that clients cache the key set.
    pub key_publish_seconds: u32,
    /// How often changes that other instances made (revoked sessions, roles, keys) are looked for, in milliseconds.
    pub poll_ms: u64,
    /// When the last look was longer ago than this, in seconds, no token is accepted any more.
    pub stale_seconds: u64,
    /// How many verified tokens are remembered.
    pub remembered_tokens: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            secret: SecretString::default(),
            contact_secret: SecretString::default(),
            issuer: "https://vostro.invalid/".to_owned(),
            audience: "vostro-api".to_owned(),
            access_token_minutes: 10,
            refresh_token_days: 14,
            session_days: 90,
            memory_kib: 64 * 1024,
            iterations: 2,
            allow_weak_hashing: false,
            lockout_failures: 5,
            lockout_window_minutes: 15,
            lockout_first_seconds: 60,
            lockout_longest_seconds: 3600,
            key_rotation_days: 30,
            key_publish_seconds: 1200,
            poll_ms: 2000,
            stale_seconds: 10,
            remembered_tokens: 50_000,
        }
    }
}

impl Config {
    /// The least an Argon2id computation costs by the OWASP password storage cheat sheet.
    pub const LEAST_MEMORY_KIB: u32 = 19 * 1024;
    pub const LEAST_ITERATIONS: u32 = 2;
    const LEAST_SECRET: usize = 32;

    /// Whether the configuration makes sense.
    ///
    /// # Errors
    /// What is wrong with it, for an operator. Never contains a secret.
    pub fn validate(&self) -> Result<(), String> {
        for (name, secret) in [("secret", &self.secret), ("contact_secret", &self.contact_secret)] {
            if secret.expose_secret().chars().count() < Self::LEAST_SECRET {
                return Err(format!("auth.{name} must have at least {} characters", Self::LEAST_SECRET));
            }
        }
        if self.issuer.is_empty() || self.audience.is_empty() {
            return Err("auth.issuer and auth.audience must not be empty".to_owned());
        }
        self.validate_hashing()?;
        within("access_token_minutes", self.access_token_minutes, 1, 15)?;
        within("refresh_token_days", self.refresh_token_days, 1, 365)?;
        within("session_days", self.session_days, self.refresh_token_days, 365)?;
        within("lockout_failures", self.lockout_failures, 2, 100)?;
        within("lockout_window_minutes", self.lockout_window_minutes, 1, 24 * 60)?;
        within("lockout_first_seconds", self.lockout_first_seconds, 1, 24 * 3600)?;
        within("lockout_longest_seconds", self.lockout_longest_seconds, self.lockout_first_seconds, 24 * 3600)?;
        within("key_publish_seconds", self.key_publish_seconds, 0, 7 * 24 * 3600)?;
        within("key_rotation_days", self.key_rotation_days, 1, 365)?;
        if TimeDelta::days(self.key_rotation_days.into()) <= TimeDelta::seconds(self.key_publish_seconds.into()) {
            return Err("auth.key_rotation_days must be longer than auth.key_publish_seconds".to_owned());
        }
        within("poll_ms", self.poll_ms, 50, 60_000)?;
        within("stale_seconds", self.stale_seconds, 1, 3600)?;
        if self.stale_seconds * 1000 < self.poll_ms * 2 {
            return Err("auth.stale_seconds must leave room for two polls".to_owned());
        }
        within("remembered_tokens", self.remembered_tokens, 0, 10_000_000)
    }

    fn validate_hashing(&self) -> Result<(), String> {
        within("memory_kib", self.memory_kib, 8, 1024 * 1024)?;
        within("iterations", self.iterations, 1, 20)?;
        if self.hashes_weakly() && !self.allow_weak_hashing {
            return Err(format!(
                "auth.memory_kib and auth.iterations must be at least {} and {} (OWASP); only tests and demonstrations \
                 may set auth.allow_weak_hashing",
                Self::LEAST_MEMORY_KIB,
                Self::LEAST_ITERATIONS
            ));
        }
        Ok(())
    }

    /// Whether a stolen hash would be cheaper to attack than it should be.
    pub fn hashes_weakly(&self) -> bool {
        self.memory_kib < Self::LEAST_MEMORY_KIB || self.iterations < Self::LEAST_ITERATIONS
    }

    pub(crate) fn lockout(&self) -> LockoutPolicy {
        LockoutPolicy {
            failures: self.lockout_failures,
            window: TimeDelta::minutes(self.lockout_window_minutes.into()),
            first: TimeDelta::seconds(self.lockout_first_seconds.into()),
            longest: TimeDelta::seconds(self.lockout_longest_seconds.into()),
        }
    }

    pub(crate) fn sessions(&self) -> SessionPolicy {
        SessionPolicy {
            access: TimeDelta::minutes(self.access_token_minutes.into()),
            idle: TimeDelta::days(self.refresh_token_days.into()),
            absolute: TimeDelta::days(self.session_days.into()),
        }
    }

    pub(crate) fn keys(&self) -> KeyPolicy {
        KeyPolicy {
            rotate_after: TimeDelta::days(self.key_rotation_days.into()),
            publish_ahead: TimeDelta::seconds(self.key_publish_seconds.into()),
        }
    }
}

fn within<N: PartialOrd + std::fmt::Display>(name: &str, value: N, least: N, most: N) -> Result<(), String> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(format!("auth.{name} must be between {least} and {most}, not {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> Config {
        Config { secret: "s".repeat(32).into(), contact_secret: "c".repeat(32).into(), ..Config::default() }
    }

    #[test]
    fn the_defaults_lack_nothing_but_the_secrets() {
        assert_eq!(valid().validate(), Ok(()));
        let reason = Config::default().validate().expect_err("no secrets");
        assert!(reason.contains("auth.secret"), "{reason}");
    }

    #[test]
    fn weak_hashing_is_refused_unless_it_is_allowed() {
        for (memory_kib, iterations) in [(19 * 1024 - 1, 2), (64 * 1024, 1), (64, 1)] {
            let config = Config { memory_kib, iterations, ..valid() };
            assert!(config.validate().expect_err("weak").contains("OWASP"));
            assert_eq!(Config { allow_weak_hashing: true, ..config }.validate(), Ok(()));
        }
        assert_eq!(Config { memory_kib: 19 * 1024, iterations: 2, ..valid() }.validate(), Ok(()));
    }

    #[test]
    fn values_that_would_weaken_a_guarantee_are_refused() {
        let broken = [
            Config { access_token_minutes: 16, ..valid() },
            Config { access_token_minutes: 0, ..valid() },
            Config { session_days: 1, ..valid() },
            Config { lockout_failures: 0, ..valid() },
            Config { lockout_longest_seconds: 1, ..valid() },
            Config { poll_ms: 0, ..valid() },
            Config { stale_seconds: 1, ..valid() },
            Config { issuer: String::new(), ..valid() },
            Config { contact_secret: "short".into(), ..valid() },
            Config { key_rotation_days: 1, key_publish_seconds: 7 * 24 * 3600, ..valid() },
        ];
        for config in broken {
            assert!(config.validate().is_err(), "{config:?}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = serde_json::from_str::<Config>(r#"{"acess_token_minutes": 5}"#).expect_err("unknown");
        assert!(error.to_string().contains("acess_token_minutes"), "{error}");
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = Config { secret: "tell-nobody-tell-nobody-tell-nobody".into(), ..valid() };
        assert!(!format!("{config:?}").contains("tell-nobody"));
    }
}
