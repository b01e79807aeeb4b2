//! What the auth module tells: people, their sessions, their roles. All numbered in the user's sequence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vostro_kernel::Role;

use crate::domain_event::domain_events;

/// A person registered and may log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserRegisteredV1 {
    pub user_id: Uuid,
    /// Display name and e-mail address, sealed for the modules that hold the contact key; nobody else can read it.
    pub sealed_contact: String,
    /// BCP 47 language tag the person wants to be written to in.
    pub locale: String,
    pub roles: Vec<Role>,
}

/// A person logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserLoggedInV1 {
    pub user_id: Uuid,
    pub session_id: Uuid,
    pub method: LoginMethod,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LoginMethod {
    Password,
}

/// A person's profile changed. Carries the values after the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserUpdatedV1 {
    pub user_id: Uuid,
    /// Names of the fields that changed: `displayName`, `locale`.
    pub changed_fields: Vec<String>,
    /// As in [`UserRegisteredV1`].
    pub sealed_contact: String,
    pub locale: String,
}

/// A person was given a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleAssignedV1 {
    pub user_id: Uuid,
    pub role: Role,
    /// All roles after the change.
    pub roles: Vec<Role>,
}

/// A refresh token was exchanged for a new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionRefreshedV1 {
    pub user_id: Uuid,
    pub session_id: Uuid,
}

/// A session ended; none of its tokens are accepted any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionRevokedV1 {
    pub user_id: Uuid,
    pub session_id: Uuid,
    pub reason: RevocationReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RevocationReason {
    Logout,
    /// A refresh token was presented a second time: it was stolen, or its answer was lost (RFC 9700 §4.14).
    ReuseDetected,
}

domain_events! {
    UserRegisteredV1 => "auth.user-registered.v1", "user", user_id;
    UserLoggedInV1 => "auth.user-logged-in.v1", "user", user_id;
    UserUpdatedV1 => "auth.user-updated.v1", "user", user_id;
    RoleAssignedV1 => "auth.role-assigned.v1", "user", user_id;
    SessionRefreshedV1 => "auth.session-refreshed.v1", "user", user_id;
    SessionRevokedV1 => "auth.session-revoked.v1", "user", user_id;
}
