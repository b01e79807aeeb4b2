use std::time::Duration;

use vostro_events::auth::{
    RoleAssignedV1, SessionRefreshedV1, SessionRevokedV1, UserLoggedInV1, UserRegisteredV1, UserUpdatedV1,
};
use vostro_events::command::CommandRefusedV1;
use vostro_events::query::Query as _;
use vostro_events::query::auth::NameCheckV1;
use vostro_messaging::Manifest;

/// The module's name: its folder, its schema, its exchange.
pub(crate) const MODULE: &str = "auth";

/// What auth is to the other modules. It listens to nobody.
pub fn manifest() -> Manifest {
    Manifest {
        module: MODULE,
        version: env!("CARGO_PKG_VERSION"),
        purpose: "Knows who somebody is and what they may do: registration, login, sessions, access tokens, roles.",
        publishes: &[
            UserRegisteredV1::TYPE,
            UserLoggedInV1::TYPE,
            UserUpdatedV1::TYPE,
            RoleAssignedV1::TYPE,
            SessionRefreshedV1::TYPE,
            SessionRevokedV1::TYPE,
            CommandRefusedV1::TYPES[0],
            "auth.operator-acted.v1",
        ],
        claimed: &[],
        subscribes: Vec::new(),
        calls: &[],
        serves: &[NameCheckV1::TYPE],
        depends_on: &[],
        publish_linger: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_it_publishes_is_its_own() {
        for event_type in manifest().publishes {
            assert_eq!(event_type.split('.').next(), Some(MODULE), "{event_type}");
        }
    }
}
