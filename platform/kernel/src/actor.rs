use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What kind of party caused something to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ActorKind {
    /// A customer.
    User,
    /// Somebody of the bank.
    Staff,
    /// The bank itself: a consumer, a schedule, a command line.
    System,
    /// Nobody known yet: registering, logging in, or a request that carried no valid token.
    Anonymous,
}

impl ActorKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Staff => "STAFF",
            Self::System => "SYSTEM",
            Self::Anonymous => "ANONYMOUS",
        }
    }
}

impl FromStr for ActorKind {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::User, Self::Staff, Self::System, Self::Anonymous]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// What a person may do. One person can hold several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    Customer,
    ComplianceOfficer,
    Operator,
    Admin,
}

/// A role or actor kind by a name the bank does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown name {0:?}")]
pub struct UnknownRole(pub String);

impl Role {
    pub const ALL: [Self; 4] = [Self::Customer, Self::ComplianceOfficer, Self::Operator, Self::Admin];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "CUSTOMER",
            Self::ComplianceOfficer => "COMPLIANCE_OFFICER",
            Self::Operator => "OPERATOR",
            Self::Admin => "ADMIN",
        }
    }

    /// Whether the role belongs to somebody of the bank.
    pub const fn is_staff(self) -> bool {
        !matches!(self, Self::Customer)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of roles.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles(u8);

impl Roles {
    pub const NONE: Self = Self(0);

    pub const fn contains(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    pub fn contains_any(self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.contains(*role))
    }

    pub const fn is_staff(self) -> bool {
        self.0 & !Role::Customer.bit() != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.contains(*role))
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |bits, role| bits | role.bit()))
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Who is acting, as far as the bank has verified it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor {
    pub kind: ActorKind,
    /// The user's id; `None` for the system and for somebody unknown.
    pub id: Option<Uuid>,
    pub roles: Roles,
    /// The login session the request belongs to.
    pub session: Option<Uuid>,
}

impl Actor {
    pub const SYSTEM: Self = Self { kind: ActorKind::System, id: None, roles: Roles::NONE, session: None };
    pub const ANONYMOUS: Self = Self { kind: ActorKind::Anonymous, id: None, roles: Roles::NONE, session: None };

    /// A person with a verified token: staff as soon as one role is a staff role.
    pub const fn person(id: Uuid, roles: Roles, session: Option<Uuid>) -> Self {
        let kind = if roles.is_staff() { ActorKind::Staff } else { ActorKind::User };
        Self { kind, id: Some(id), roles, session }
    }

    pub fn is(&self, user: Uuid) -> bool {
        self.id == Some(user)
    }

    pub fn has_any(&self, roles: &[Role]) -> bool {
        self.roles.contains_any(roles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_read_back_from_its_name() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!("customer".parse::<Role>().is_err());
    }

    #[test]
    fn one_staff_role_makes_a_person_staff() {
        let person = |roles: &[Role]| Actor::person(Uuid::nil(), roles.iter().copied().collect(), None).kind;
        assert_eq!(person(&[Role::Customer]), ActorKind::User);
        assert_eq!(person(&[Role::Customer, Role::Operator]), ActorKind::Staff);
    }
}
