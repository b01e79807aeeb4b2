//! Tells people what happened to them and their money: in the app, and by e-mail.
//!
//! The module listens to business events, decides for each whom to tell on which channel ([`domain`]), and keeps one row
//! per decision. What is said in the app is stored and pushed to whoever is connected; e-mails are queued and sent by a
//! background worker. Nothing in here can hold up or fail a business command.
//!
//! [`Notifications`] is the facade: one method per use case.

mod adapters;
mod config;
mod consume;
pub mod domain;
mod error;
mod facade;
mod manifest;
mod projection;
mod publish;
mod sender;
mod store;
mod templates;

pub use config::{Config, EmailConfig, SmtpConfig, TlsMode};
pub use error::{NotificationError, NotificationErrorCode};
pub use facade::{Arrival, Filter, Notifications, Preference, Start};
pub use manifest::manifest;
pub use templates::TemplateError;

/// The tables of the module's own schema, applied after the messaging tables.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/notification");
