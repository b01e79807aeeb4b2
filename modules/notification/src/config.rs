use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use secrecy::SecretString;
use serde::Deserialize;

use crate::domain::Locale;

/// How the module is set up.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The bank's name as it appears in texts.
    pub bank: String,
    /// The language for people whose own there are no templates for: `en` or `cs`.
    pub default_locale: String,
    pub email: EmailConfig,
}

/// How e-mails leave the bank.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmailConfig {
    /// The sender, such as `Vostro <no-reply@bank.example>`. Its domain is also that of the message ids.
    pub from: String,
    /// The mail server. Without one, e-mails are written as `.eml` files into `folder`.
    pub smtp: Option<SmtpConfig>,
    /// Where `.eml` files go; made when missing.
    pub folder: PathBuf,
    /// How long handing over one e-mail may take, in seconds (1 to 300).
    pub timeout_seconds: u64,
    /// How many e-mails are handed over at the same time (1 to 32).
    pub concurrency: usize,
    /// How often an e-mail is tried before it counts as failed (1 to 50).
    pub max_attempts: u32,
    /// The pause after the first failed attempt, in seconds; it doubles with each further one.
    pub retry_seconds: u64,
    /// The longest pause between two attempts, in seconds.
    pub retry_max_seconds: u64,
    /// How long an e-mail waits for the person's address to become known, in seconds.
    pub contact_wait_seconds: u64,
}

/// A mail server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpConfig {
    /// Name or address.
    pub host: String,
    /// 25, 465 or 587 as a rule.
    pub port: u16,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: TlsMode,
    /// Together with `password`, when the server wants to know who sends.
    #[serde(default)]
    pub username: Option<String>,
    /// Never printed.
    #[serde(default)]
    pub password: Option<SecretString>,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// Not at all: for a server on the same machine.
    None,
    /// Upgraded before anything is said; a server that does not offer it is not used.
    #[default]
    StartTls,
    /// From the first byte.
    Tls,
}

impl Default for Config {
    fn default() -> Self {
        Self { bank: "Vostro".to_owned(), default_locale: "en".to_owned(), email: EmailConfig::default() }
    }
}

impl Default for EmailConfig {
    fn default() -> Self {
        Self {
            from: "Vostro <no-reply@vostro.example>".to_owned(),
            smtp: None,
            folder: PathBuf::from("mail"),
            timeout_seconds: 30,
            concurrency: 4,
            max_attempts: 12,
            retry_seconds: 10,
            retry_max_seconds: 3600,
            contact_wait_seconds: 600,
        }
    }
}

impl Config {
    /// # Errors
    /// What is wrong, naming the key.
    pub fn validate(&self) -> Result<(), String> {
        if self.bank.trim().is_empty() || self.bank.contains(char::is_control) {
            return Err("bank must be a name on one line".to_owned());
        }
        self.locale()?;
        self.email.validate()
    }

    pub(crate) fn locale(&self) -> Result<Locale, String> {
        Locale::of(&self.default_locale)
            .ok_or_else(|| format!("default_locale: no templates for {:?}", self.default_locale))
    }
}

impl EmailConfig {
    fn validate(&self) -> Result<(), String> {
        self.sender()?;
        within("timeout_seconds", self.timeout_seconds, 1, 300)?;
        within("concurrency", self.concurrency as u64, 1, 32)?;
        within("max_attempts", u64::from(self.max_attempts), 1, 50)?;
        within("retry_seconds", self.retry_seconds, 1, 86_400)?;
        within("retry_max_seconds", self.retry_max_seconds, self.retry_seconds, 86_400)?;
        within("contact_wait_seconds", self.contact_wait_seconds, 1, 604_800)?;
        if let Some(smtp) = &self.smtp {
            if smtp.host.is_empty() {
                return Err("email.smtp.host must not be empty".to_owned());
            }
            if smtp.username.is_some() != smtp.password.is_some() {
                return Err("email.smtp: username and password go together".to_owned());
            }
        } else if self.folder.as_os_str().is_empty() {
            return Err("email.folder must not be empty without a mail server".to_owned());
        }
        Ok(())
    }

    pub(crate) fn sender(&self) -> Result<Mailbox, String> {
        self.from.parse().map_err(|error| format!("email.from is not an address: {error}"))
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}

fn within(key: &str, value: u64, least: u64, most: u64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("email.{key} must be between {least} and {most}, not {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: serde_json::Value) -> Result<Config, String> {
        let config: Config = serde_json::from_value(json).map_err(|error| error.to_string())?;
        config.validate().map(|()| config)
    }

    #[test]
    fn nothing_needs_to_be_configured() {
        let config = read(serde_json::json!({})).expect("the defaults are valid");
        assert!(config.email.smtp.is_none());
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = read(serde_json::json!({"email": {"sender": "a@b.c"}})).expect_err("unknown");
        assert!(error.contains("sender"), "{error}");
        assert!(read(serde_json::json!({"email": {"smtp": {"host": "h", "port": 25, "user": "u"}}})).is_err());
    }

    #[test]
    fn a_value_that_cannot_work_is_refused_by_name() {
        let broken = [
            (serde_json::json!({"bank": "\n"}), "bank"),
            (serde_json::json!({"default_locale": "fr"}), "default_locale"),
            (serde_json::json!({"email": {"from": "nobody"}}), "from"),
            (serde_json::json!({"email": {"concurrency": 0}}), "concurrency"),
            (serde_json::json!({"email": {"max_attempts": 0}}), "max_attempts"),
            (serde_json::json!({"email": {"retry_seconds": 60, "retry_max_seconds": 30}}), "retry_max_seconds"),
            (serde_json::json!({"email": {"folder": ""}}), "folder"),
            (serde_json::json!({"email": {"smtp": {"host": "", "port": 25}}}), "host"),
            (serde_json::json!({"email": {"smtp": {"host": "h", "port": 25, "username": "u"}}}), "password"),
            (serde_json::json!({"email": {"smtp": {"host": "h", "port": 25, "tls": "maybe"}}}), "maybe"),
        ];
        for (json, key) in broken {
            let error = read(json).expect_err(key);
            assert!(error.contains(key), "{key}: {error}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let smtp = serde_json::json!({"host": "h", "port": 465, "tls": "tls", "username": "u", "password": "hunter2"});
        let config = read(serde_json::json!({"email": {"smtp": smtp}})).expect("valid");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
