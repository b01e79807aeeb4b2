//! The supergraph for gateways that are not ours.

use super::subgraph_path;

/// The supergraph with the address of each subgraph, by the base address of the process that runs it. Those that `base`
/// does not know keep what they have.
pub fn addressed(supergraph: &str, base: impl Fn(&str) -> Option<String>) -> String {
    supergraph.lines().map(|line| readdressed(line, &base).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

/// `ACCOUNT @join__graph(name: "account", url: "…")` with another address.
fn readdressed(line: &str, base: impl Fn(&str) -> Option<String>) -> Option<String> {
    let (before, after) = line.split_once("@join__graph(name: \"")?;
    let (name, _) = after.split_once('"')?;
    let address = base(name)?;
    let url = format!("{}{}", address.trim_end_matches('/'), subgraph_path(name));
    // A text of the supergraph, with nothing in it that would end it.
    let url = url.replace(['"', '\\', '\n'], "");
    Some(format!("{before}@join__graph(name: \"{name}\", url: \"{url}\")"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::SUPERGRAPH;
    use crate::stitch::Engine;

    #[test]
    fn every_subgraph_that_is_known_gets_its_address_and_nothing_else_changes() {
        let text = addressed(SUPERGRAPH, |name| (name != "node").then(|| format!("http://{name}.bank:1/")));
        assert!(
            text.contains(r#"ACCOUNT @join__graph(name: "account", url: "http://account.bank:1/subgraph/account")"#)
        );
        assert!(text.contains(r#"NODE @join__graph(name: "node", url: "in-process://node")"#));
        assert_eq!(text.lines().count(), SUPERGRAPH.lines().count());
        assert_eq!(text.matches("http://").count() - SUPERGRAPH.matches("http://").count(), 6);
        Engine::over(&text).expect("still a supergraph");
    }
}
