//! Whether the manifests keep to the naming rules and fit each other.

use std::collections::BTreeSet;

use vostro_messaging::{EventSelector, Manifest, versions as event_versions};

use super::{InvalidManifest, owner, users};

/// `q.<module>.rpc` is no subscription's queue.
const RPC: &str = "rpc";
/// Names that mean something else.
const RESERVED: [&str; 5] = ["ev", "unrouted", "reply", users::MONITOR, users::OPERATOR];

pub(super) fn check(manifests: &[Manifest]) -> Result<(), InvalidManifest> {
    let published: BTreeSet<&str> = manifests.iter().flat_map(|manifest| manifest.publishes).copied().collect();
    let served: BTreeSet<&str> = manifests.iter().flat_map(|manifest| manifest.serves).copied().collect();
    let mut modules = BTreeSet::new();
    for manifest in manifests {
        let problem = |problem: String| Err(InvalidManifest { module: manifest.module.to_owned(), problem });
        if !is_name(manifest.module) || RESERVED.contains(&manifest.module) {
            let reserved = RESERVED.join(", ");
            return problem(format!(
                "a module's name is lower-case letters, digits and hyphens, and none of {reserved}"
            ));
        }
        if !modules.insert(manifest.module) {
            return problem("another module has the same name".into());
        }
        if let Some(foreign) = manifest.publishes.iter().find(|published| owner(published) != manifest.module) {
            return problem(format!("it publishes {foreign}, an event of another module"));
        }
        check_questions(manifest, &served).or_else(problem)?;
        check_claims(manifest, manifests).or_else(problem)?;
        event_versions::check_published(manifest).or_else(problem)?;
        let mut names = BTreeSet::new();
        for subscription in &manifest.subscribes {
            let name = subscription.name;
            if subscription.module != manifest.module {
                return problem(format!("the subscription {name} is of the module {}", subscription.module));
            }
            if !is_name(name) || name == RPC || !names.insert(name) {
                return problem(format!("the subscription name {name:?} is malformed or used twice"));
            }
            if let EventSelector::Types(types) = subscription.events {
                event_versions::check_taken(types, &published)
                    .or_else(|reason| problem(format!("{name} subscribes to {reason}")))?;
            }
        }
    }
    Ok(())
}

/// A module answers its own questions and asks those that somebody answers.
fn check_questions(manifest: &Manifest, served: &BTreeSet<&str>) -> Result<(), String> {
    if let Some(foreign) = manifest.serves.iter().find(|query| owner(query) != manifest.module) {
        return Err(format!("it serves {foreign}, a question to another module"));
    }
    match manifest.calls.iter().find(|query| !served.contains(*query)) {
        Some(unknown) => Err(format!("it calls {unknown}, which no module serves")),
        None => Ok(()),
    }
}

/// Whoever takes an event whose data may stay behind asks for it; it would quarantine each such event otherwise.
fn check_claims(manifest: &Manifest, manifests: &[Manifest]) -> Result<(), String> {
    if let Some(foreign) = manifest.claimed.iter().find(|claimed| !manifest.publishes.contains(*claimed)) {
        return Err(format!("the data of {foreign} may stay behind, an event it does not publish"));
    }
    if let (Some(claimed), None) = (manifest.claimed.first(), manifest.claim()) {
        return Err(format!("the data of {claimed} may stay behind, and it answers no question for it"));
    }
    for owner in manifests {
        let Some(claim) = owner.claim().filter(|claim| !manifest.calls.contains(claim)) else { continue };
        for subscription in &manifest.subscribes {
            if let Some(claimed) = owner.claimed.iter().find(|claimed| subscription.takes(claimed)) {
                let name = subscription.name;
                return Err(format!(
                    "{name} takes {claimed}, whose data may stay behind, and it does not call {claim}"
                ));
            }
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let allowed = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.len() <= 60 && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::super::Topology;
    use super::super::samples::{manifest, manifests, subscription, with_questions};
    use super::*;

    #[test]
    fn a_question_to_nobody_and_one_that_is_another_modules_to_answer_are_refused() {
        let problem = |change: fn(&mut Vec<Manifest>)| {
            let mut manifests = with_questions();
            change(&mut manifests);
            Topology::of(&manifests).expect_err("invalid").to_string()
        };
        assert_eq!(
            problem(|manifests| manifests[1].serves = &["account.half.v1"]),
            "the auth module's manifest: it calls account.double.v1, which no module serves"
        );
        assert_eq!(
            problem(|manifests| manifests[0].serves = &["account.double.v1"]),
            "the auth module's manifest: it serves account.double.v1, a question to another module"
        );
        let rpc = problem(|manifests| manifests[1].subscribes[0].name = "rpc");
        assert!(rpc.contains("the subscription name \"rpc\""), "{rpc}");
    }

    /// compliance asks for what account leaves behind.
    fn with_claims() -> Vec<Manifest> {
        let mut manifests = manifests();
        manifests[1].claimed = &["account.account-created.v1"];
        manifests[1].serves = &["account.claim.v1"];
        manifests[2].calls = &["account.claim.v1"];
        manifests
    }

    #[test]
    fn whoever_takes_an_event_whose_data_may_stay_behind_has_to_ask_for_it() {
        Topology::of(&with_claims()).expect("valid");
        let problem = |change: fn(&mut Vec<Manifest>)| {
            let mut manifests = with_claims();
            change(&mut manifests);
            Topology::of(&manifests).expect_err("invalid").to_string()
        };
        assert_eq!(
            problem(|manifests| manifests[2].calls = &[]),
            "the compliance module's manifest: audit takes account.account-created.v1, whose data may stay behind, and it \
             does not call account.claim.v1"
        );
        assert_eq!(
            problem(|manifests| manifests[1].claimed = &["auth.user-updated.v1"]),
            "the account module's manifest: the data of auth.user-updated.v1 may stay behind, an event it does not publish"
        );
        let unanswered = problem(|manifests| (manifests[1].serves, manifests[2].calls) = (&[], &[]));
        assert!(unanswered.ends_with("may stay behind, and it answers no question for it"), "{unanswered}");
    }

    #[test]
    fn manifests_that_contradict_each_other_are_refused_with_the_reason() {
        let refused = |manifests: &[Manifest]| Topology::of(manifests).expect_err("invalid").to_string();
        let types = EventSelector::Types(&["b.y.v1"]);
        let twice = vec![subscription("a", "s", EventSelector::All), subscription("a", "s", EventSelector::All)];
        for (manifests, reason) in [
            (vec![manifest("A", &[], vec![])], "a module's name is"),
            (vec![manifest("unrouted", &[], vec![])], "a module's name is"),
            (vec![manifest("a", &[], vec![]), manifest("a", &[], vec![])], "another module has the same name"),
            (vec![manifest("a", &["b.x.v1"], vec![])], "it publishes b.x.v1"),
            (vec![manifest("a", &[], vec![subscription("a", "s", types)])], "s subscribes to b.y.v1"),
            (vec![manifest("a", &[], vec![subscription("b", "s", EventSelector::All)])], "s is of the module b"),
            (vec![manifest("a", &[], vec![subscription("a", "s.t", EventSelector::All)])], "\"s.t\" is malformed"),
            (vec![manifest("a", &[], twice)], "used twice"),
        ] {
            let error = refused(&manifests);
            assert!(error.contains(reason), "{error}");
        }
    }
}
