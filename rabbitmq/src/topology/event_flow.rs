use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use vostro_messaging::{EventSelector, Manifest};

use super::owner;

/// Draws who tells whom what, as a Mermaid flow chart for the documentation.
///
/// An arrow leads from the publishing module to the subscription and carries the event types. A thick one leads from a
/// module to one that it asks questions.
pub fn event_flow(manifests: &[Manifest]) -> String {
    let modules: BTreeMap<&str, &Manifest> = manifests.iter().map(|manifest| (manifest.module, manifest)).collect();
    let mut chart = String::from("flowchart LR\n");
    for (module, manifest) in &modules {
        let _ = writeln!(chart, "  {}([{module}])", node(module));
        for subscription in &manifest.subscribes {
            let group = subscription.group();
            let _ = writeln!(chart, "  {}[[{}]] --> {}", node(&group), subscription.queue(), node(module));
        }
    }
    for subscription in modules.values().flat_map(|manifest| &manifest.subscribes) {
        let target = node(&subscription.group());
        match subscription.events {
            EventSelector::Types(types) => {
                let mut by_owner: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
                for event_type in types {
                    by_owner.entry(owner(event_type)).or_default().insert(event_type);
                }
                for (owner, types) in by_owner {
                    let label = types.into_iter().collect::<Vec<_>>().join("<br/>");
                    let _ = writeln!(chart, "  {} -->|\"{label}\"| {target}", node(owner));
                }
            }
            EventSelector::All => {
                for publisher in modules.values().filter(|manifest| !manifest.publishes.is_empty()) {
                    let _ = writeln!(chart, "  {} -.->|\"everything\"| {target}", node(publisher.module));
                }
            }
        }
    }
    for asking in modules.values() {
        let mut by_callee: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for query in asking.calls {
            by_callee.entry(owner(query)).or_default().insert(query);
        }
        for (callee, queries) in by_callee {
            let label = queries.into_iter().collect::<Vec<_>>().join("<br/>");
            let _ = writeln!(chart, "  {} ==>|\"asks {label}\"| {}", node(asking.module), node(callee));
        }
    }
    chart
}

fn node(name: &str) -> String {
    name.replace(['.', '-'], "_")
}

#[cfg(test)]
mod tests {
    use super::super::samples::manifests;
    use super::*;

    #[test]
    fn arrows_lead_from_publishers_to_subscriptions() {
        let expected = "\
flowchart LR
  account([account])
  account_customers[[q.account.customers]] --> account
  auth([auth])
  compliance([compliance])
  compliance_audit[[q.compliance.audit]] --> compliance
  auth -->|\"auth.user-registered.v1\"| account_customers
  account -.->|\"everything\"| compliance_audit
  auth -.->|\"everything\"| compliance_audit
";
        assert_eq!(event_flow(&manifests()), expected);
    }
}
