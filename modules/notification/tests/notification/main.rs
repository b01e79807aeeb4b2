//! The module on a real database, with a real mail server where one is needed.

mod background;
mod consuming;
mod email_failures;
mod email_folder;
mod email_smtp;
mod inbox;
mod preferences;
mod privacy;
mod received;
mod smtp_sink;
mod support;
