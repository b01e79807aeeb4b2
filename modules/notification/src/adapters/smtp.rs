use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use secrecy::ExposeSecret;

use super::{HandOverError, Mail, MailTransport, mime};
use crate::config::{SmtpConfig, TlsMode};

/// Hands e-mails to a mail server.
///
/// Connections are kept for the next e-mail. While one is in use it belongs to the hand-over alone: a hand-over that
/// fails or runs out of time takes its connection with it, so a late reply can never be taken for the answer to another
/// e-mail.
pub(super) struct Smtp {
    host: String,
    port: u16,
    tls: TlsMode,
    tls_parameters: Option<TlsParameters>,
    credentials: Option<Credentials>,
    hello: ClientId,
    timeout: Duration,
    idle: Mutex<Vec<AsyncSmtpConnection>>,
}

impl Smtp {
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(config: &SmtpConfig, timeout: Duration) -> Result<Self, String> {
        let tls_parameters = match config.tls {
            TlsMode::None => None,
            TlsMode::StartTls | TlsMode::Tls => {
                let parameters = TlsParameters::new(config.host.clone());
                Some(parameters.map_err(|error| format!("TLS to the mail server cannot be set up: {error}"))?)
            }
        };
        let credentials = config.username.clone().zip(config.password.as_ref());
        Ok(Self {
            host: config.host.clone(),
            port: config.port,
            tls: config.tls,
            tls_parameters,
            credentials: credentials.map(|(user, password)| Credentials::new(user, password.expose_secret().into())),
            hello: ClientId::default(),
            timeout,
            idle: Mutex::default(),
        })
    }

    /// A connection that is ready for an e-mail.
    async fn connection(&self) -> Result<AsyncSmtpConnection, HandOverError> {
        while let Some(mut connection) = self.take_idle() {
            if connection.test_connected().await {
                return Ok(connection);
            }
        }
        self.connect().await.map_err(|error| HandOverError::Unavailable(code(&error)))
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let (wrapper, upgrade) = match self.tls {
            TlsMode::None => (None, None),
            TlsMode::Tls => (self.tls_parameters.clone(), None),
            TlsMode::StartTls => (None, self.tls_parameters.clone()),
        };
        let server = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(self.timeout), &self.hello, wrapper, None).await?;
        if let Some(parameters) = upgrade {
            connection.starttls(parameters, &self.hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }

    async fn send(&self, mail: &Mail) -> Result<String, HandOverError> {
        let message = mime::message(mail)?;
        let mut connection = self.connection().await?;
        let reply = connection.send(message.envelope(), &message.formatted()).await.map_err(|error| {
            let code = code(&error);
            match error.status() {
                // 421: the whole service is closing.
                Some(status) if u16::from(status) == 421 => HandOverError::Unavailable(code),
                Some(_) if error.is_permanent() => HandOverError::Refused(code),
                Some(_) => HandOverError::Later(code),
                // The server cannot take such an address or text, and will not learn it.
                None if error.is_client() => HandOverError::Refused(code),
                None => HandOverError::Unavailable(code),
            }
        })?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(reply.code().to_string())
    }

    fn take_idle(&self) -> Option<AsyncSmtpConnection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

#[async_trait]
impl MailTransport for Smtp {
    /// A mail server that is down must not keep the bank from starting.
    async fn prepare(&self) -> Result<(), String> {
        Ok(())
    }

    async fn hand_over(&self, mail: &Mail) -> Result<String, HandOverError> {
        let timeout = || HandOverError::Unavailable("SMTP_TIMEOUT".to_owned());
        tokio::time::timeout(self.timeout, self.send(mail)).await.unwrap_or_else(|_| Err(timeout()))
    }
}

/// What went wrong, without the server's words.
fn code(error: &Error) -> String {
    match error.status() {
        Some(status) => format!("SMTP_{status}"),
        None if error.is_tls() => "SMTP_TLS".to_owned(),
        None if error.is_timeout() => "SMTP_TIMEOUT".to_owned(),
        None if error.is_client() => "SMTP_UNSUPPORTED".to_owned(),
        None if error.is_response() => "SMTP_PROTOCOL".to_owned(),
        None => "SMTP_UNREACHABLE".to_owned(),
    }
}
