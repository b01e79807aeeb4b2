use std::sync::Arc;

use async_graphql::{Enum, ID, Object, SimpleObject};
use vostro_auth::ExposeSecret as _;

use crate::ids::{self, IdKind};
use crate::scalars::DateTime;

/// What a person may do. One person can hold several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "vostro_kernel::Role")]
pub enum Role {
    /// Has accounts at the bank.
    Customer,
    /// Reads the audit log and freezes accounts.
    ComplianceOfficer,
    /// Serves customers on the bank's behalf.
    Operator,
    /// Gives roles.
    Admin,
}

/// Whether a person may use the bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "vostro_auth::UserStatus")]
pub enum UserStatus {
    /// They may.
    Active,
}

/// A person the bank knows. Seen by the person and by staff; for everybody else there is no such user.
#[derive(Debug, Clone)]
pub struct User(pub(super) Arc<vostro_auth::User>);

#[Object]
impl User {
    async fn id(&self) -> ID {
        ids::encode(IdKind::User, self.0.id)
    }

    /// In lower case.
    async fn email(&self) -> &str {
        &self.0.email
    }

    async fn display_name(&self) -> &str {
        &self.0.display_name
    }

    /// The language the bank writes in, as a BCP 47 tag.
    async fn locale(&self) -> &str {
        &self.0.locale
    }

    async fn roles(&self) -> Vec<Role> {
        self.0.roles.iter().map(Role::from).collect()
    }

    async fn status(&self) -> UserStatus {
        self.0.status.into()
    }

    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }
}

impl From<vostro_auth::User> for User {
    fn from(user: vostro_auth::User) -> Self {
        Self(Arc::new(user))
    }
}

/// What a client holds while somebody is logged in.
#[derive(SimpleObject)]
pub struct Tokens {
    /// Goes into the header `Authorization: Bearer …` of every request.
    access_token: String,
    /// Is exchanged, once, for the next pair with `tokenRefresh`. Using it twice ends the session.
    refresh_token: String,
    /// When the access token expires.
    expires_at: DateTime,
    /// Always `Bearer`.
    token_type: &'static str,
}

impl From<vostro_auth::Tokens> for Tokens {
    fn from(tokens: vostro_auth::Tokens) -> Self {
        Self {
            access_token: tokens.access_token.expose_secret().to_owned(),
            refresh_token: tokens.refresh_token.expose_secret().to_owned(),
            expires_at: tokens.expires_at.into(),
            token_type: vostro_auth::Tokens::TYPE,
        }
    }
}
