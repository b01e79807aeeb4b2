use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;
use vostro_kernel::Roles;

/// Whether somebody may use the bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserStatus {
    Active,
}

impl UserStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
        }
    }
}

/// A person the bank knows. Given to the person and to staff only.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    pub id: Uuid,
    /// In its normal spelling.
    pub email: String,
    pub display_name: String,
    /// BCP 47 language tag.
    pub locale: String,
    pub roles: Roles,
    pub status: UserStatus,
    pub created_at: DateTime<Utc>,
}

impl fmt::Debug for User {
    /// Without what identifies the person outside the bank.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("locale", &self.locale)
            .field("roles", &self.roles)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
