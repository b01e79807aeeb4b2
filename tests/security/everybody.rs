//! Who asks the bank in these tests: somebody who is not logged in, and somebody with each role.

use vostro::client::Connection;

use crate::support::{Person, Staff, World};

/// The access token of each by role; both are empty for who is not logged in.
pub fn tokens<'a>(staff: &'a Staff, customer: &'a Person) -> [(&'static str, &'a str); 5] {
    [
        ("", ""),
        ("CUSTOMER", &customer.token),
        ("OPERATOR", &staff.operator),
        ("COMPLIANCE_OFFICER", &staff.officer),
        ("ADMIN", &staff.admin),
    ]
}

/// A connection of each by role.
pub async fn connections(world: &World, staff: &Staff, customer: &Person) -> Vec<(&'static str, Connection)> {
    let mut connections = Vec::new();
    for (role, token) in tokens(staff, customer) {
        let mut connection = Connection::open(world.config.http.address).await.expect("the bank listens");
        if !token.is_empty() {
            connection.log_in_with(token);
        }
        connections.push((role, connection));
    }
    connections
}

/// A world in which what a question costs is not in question.
pub async fn generous_world() -> World {
    let mut world = World::create().await;
    (world.config.graphql.max_cost, world.config.graphql.budget_points) = (1_000_000, 0);
    world
}
