//! Who may do what at the broker. Nobody here may declare or delete anything that lasts: that is done at deployment, by an
//! administrator, before the bank runs. A module that asks questions declares its own reply queues, which go with it.

use std::collections::BTreeSet;

use vostro_messaging::Manifest;

use super::{UNROUTED_QUEUE, escaped, events_of, owner};
use crate::rpc::{REPLIES, REPLY_QUEUES, exchange_of};

/// Looks at queues, connections and nodes; reads no message.
pub(super) const MONITOR: &str = "monitor";
/// Looks into the queues of what went astray.
pub const OPERATOR: &str = "operator";

/// A user and what they may do in the virtual host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// What the management API allows them, such as `monitoring`.
    pub tags: BTreeSet<String>,
    pub permissions: Permissions,
}

/// Regular expressions over the names of exchanges and queues. The default allows nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// To declare and to delete.
    pub configure: String,
    /// To publish to an exchange, to bind a queue.
    pub write: String,
    /// To consume and to purge a queue, to bind to an exchange.
    pub read: String,
}

/// Matches no name: exchanges and queues have one.
const NOTHING: &str = "^$";

impl Default for Permissions {
    fn default() -> Self {
        let nothing = || NOTHING.to_owned();
        Self { configure: nothing(), write: nothing(), read: nothing() }
    }
}

/// The name at the broker of the user with a role. Users belong to the broker and everything else to a virtual host, so
/// the name carries the virtual host: two banks on one broker do not share users.
pub fn user_name(vhost: &str, role: &str) -> String {
    format!("{vhost}.{role}")
}

/// The role of a user of this virtual host's bank; `None` for anybody else.
pub fn role<'a>(vhost: &str, user: &'a str) -> Option<&'a str> {
    user.strip_prefix(vhost)?.strip_prefix('.')
}

/// A module publishes to its own exchange and reads its own queues. What is dead-lettered for it is among them, because
/// it moves that into its own database.
pub(super) fn of_module(manifest: &Manifest) -> User {
    let module = manifest.module;
    let (mut configure, mut write, mut read) = (Vec::new(), Vec::new(), Vec::new());
    if !manifest.publishes.is_empty() {
        write.push(escaped(&events_of(module)));
    }
    if !manifest.subscribes.is_empty() {
        read.push(format!(r"(q|dlq)\.{module}\..+"));
    }
    if !manifest.serves.is_empty() {
        write.push(escaped(REPLIES));
        if manifest.subscribes.is_empty() {
            read.push(format!(r"q\.{module}\.rpc"));
        }
    }
    if !manifest.calls.is_empty() {
        let callees: BTreeSet<&str> = manifest.calls.iter().map(|query| owner(query)).collect();
        write.extend(callees.into_iter().map(|callee| escaped(&exchange_of(callee))));
        // Declaring, binding and reading a reply queue; binding also reads the exchange.
        let own = format!(r"{}{module}\..+", escaped(REPLY_QUEUES));
        configure.push(own.clone());
        write.push(own.clone());
        read.extend([own, escaped(REPLIES)]);
    }
    let permissions = Permissions { configure: any_of(configure), write: any_of(write), read: any_of(read) };
    User { tags: BTreeSet::new(), permissions }
}

/// One expression for several names.
fn any_of(mut names: Vec<String>) -> String {
    match names.len() {
        0 => NOTHING.to_owned(),
        1 => format!("^{}$", names.remove(0)),
        _ => format!("^({})$", names.join("|")),
    }
}

pub(super) fn monitor() -> User {
    User { tags: ["monitoring".to_owned()].into(), permissions: Permissions::default() }
}

pub(super) fn operator() -> User {
    let read = format!(r"^(dlq\..+|{})$", escaped(UNROUTED_QUEUE));
    User { tags: ["management".to_owned()].into(), permissions: Permissions { read, ..Permissions::default() } }
}

#[cfg(test)]
mod tests {
    use super::super::samples::manifests;
    use super::super::{InvalidManifest, Topology};
    use super::*;

    fn permissions(role: &str) -> (String, String, String) {
        let topology = Topology::of(&manifests()).expect("valid");
        let Permissions { configure, write, read } = topology.users[role].permissions.clone();
        (configure, write, read)
    }

    fn triple(configure: &str, write: &str, read: &str) -> (String, String, String) {
        (configure.to_owned(), write.to_owned(), read.to_owned())
    }

    #[test]
    fn a_module_writes_to_its_own_exchange_and_reads_its_own_queues() {
        assert_eq!(permissions("account"), triple("^$", r"^ev\.account$", r"^(q|dlq)\.account\..+$"));
        assert_eq!(permissions("auth"), triple("^$", r"^ev\.auth$", "^$"), "it listens to nobody");
        assert_eq!(permissions("compliance"), triple("^$", "^$", r"^(q|dlq)\.compliance\..+$"), "it tells nothing");
    }

    #[test]
    fn who_asks_may_have_reply_queues_of_its_own_and_who_answers_may_reply() {
        let mut manifests = manifests();
        manifests[0].calls = &["account.double.v1"];
        manifests[1].serves = &["account.double.v1"];
        let topology = Topology::of(&manifests).expect("valid");
        let permissions = |role: &str| {
            let Permissions { configure, write, read } = topology.users[role].permissions.clone();
            (configure, write, read)
        };
        let own = r"reply\.auth\..+";
        assert_eq!(
            permissions("auth"),
            triple(
                &format!("^{own}$"),
                &format!(r"^(ev\.auth|rpc\.account|{own})$"),
                &format!(r"^({own}|rpc\.reply)$")
            )
        );
        assert_eq!(
            permissions("account"),
            triple("^$", r"^(ev\.account|rpc\.reply)$", r"^(q|dlq)\.account\..+$"),
            "its queue for questions is one of its own"
        );
    }

    #[test]
    fn nobody_may_configure_anything_and_only_staff_may_use_the_management_api() {
        let topology = Topology::of(&manifests()).expect("valid");
        assert_eq!(topology.users.len(), 5);
        for (role, user) in &topology.users {
            assert_eq!(user.permissions.configure, "^$", "{role}");
            assert_eq!(user.tags.is_empty(), ![MONITOR, OPERATOR].contains(&role.as_str()), "{role}");
        }
        assert_eq!(permissions(MONITOR), triple("^$", "^$", "^$"));
        assert_eq!(permissions(OPERATOR), triple("^$", "^$", r"^(dlq\..+|q\.ev\.unrouted)$"));
    }

    #[test]
    fn a_module_cannot_take_the_name_of_a_member_of_staff() {
        for name in [MONITOR, OPERATOR] {
            let manifest = super::super::samples::manifest(name, &[], vec![]);
            assert!(matches!(Topology::of(&[manifest]), Err(InvalidManifest { module, .. }) if module == name));
        }
    }

    #[test]
    fn a_users_name_tells_the_role_in_its_own_virtual_host_only() {
        assert_eq!(role("vostro", &user_name("vostro", "account")), Some("account"));
        assert_eq!(role("vostro", "vostro2.account"), None);
        assert_eq!(role("vostro", "vostro"), None);
        assert_eq!(role("vostro", "guest"), None);
    }
}
