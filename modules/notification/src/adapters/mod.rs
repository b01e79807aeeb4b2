//! Ways to hand over an e-mail: a mail server, or a folder for where there is none.

mod eml_folder;
mod mime;
mod smtp;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use lettre::message::Mailbox;
use uuid::Uuid;
use vostro_messaging::Contact;

use crate::config::EmailConfig;
use crate::templates::EmailText;

/// An e-mail in words, addressed.
pub(crate) struct Mail {
    pub notification_id: Uuid,
    pub from: Mailbox,
    pub to: Contact,
    pub content: EmailText,
    pub date: DateTime<Utc>,
}

/// Why an e-mail was not handed over. Carries codes only: what a mail server says may hold the address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HandOverError {
    /// The address is not one mail can be sent to.
    #[error("the address cannot be used")]
    Address,
    /// The server refused this e-mail for good.
    #[error("refused for good: {0}")]
    Refused(String),
    /// The server did not take this e-mail now.
    #[error("not taken now: {0}")]
    Later(String),
    /// The server cannot be used at all now.
    #[error("mail cannot be handed over: {0}")]
    Unavailable(String),
}

/// Somebody who takes e-mails.
#[async_trait]
pub(crate) trait MailTransport: Send + Sync + 'static {
    /// Prepares for the first e-mail: what must exist is made.
    ///
    /// # Errors
    /// What an operator has to put right.
    async fn prepare(&self) -> Result<(), String>;

    /// Hands over one e-mail and returns the receipt: a mail server's reply code, or `folder`.
    ///
    /// # Errors
    /// [`HandOverError`].
    async fn hand_over(&self, mail: &Mail) -> Result<String, HandOverError>;
}

/// The transport the configuration asks for.
///
/// # Errors
/// What is wrong with the configuration.
pub(crate) fn transport(config: &EmailConfig) -> Result<Arc<dyn MailTransport>, String> {
    Ok(match &config.smtp {
        Some(smtp) => Arc::new(smtp::Smtp::new(smtp, config.timeout())?),
        None => Arc::new(eml_folder::EmlFolder::new(config.folder.clone())),
    })
}
