use std::collections::BTreeSet;

/// What a part can consist of: the modules, and the two subgraphs that own no data.
const NAMES: [&str; 7] = ["auth", "account", "transaction", "notification", "compliance", "node", "operations"];

/// What of the bank a process runs, by the names of the subgraphs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part(BTreeSet<&'static str>);

/// No subgraph of the bank has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no subgraph is called {0:?}; there are {known}", known = NAMES.join(", "))]
pub struct UnknownPart(pub String);

impl Part {
    /// Everything.
    pub fn whole() -> Self {
        Self(NAMES.into())
    }

    /// These subgraphs.
    ///
    /// # Errors
    /// [`UnknownPart`] for a name the bank does not have.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownPart> {
        let known = |name: &str| NAMES.into_iter().find(|known| *known == name);
        let names = names.into_iter().map(|name| known(name).ok_or_else(|| UnknownPart(name.to_owned())));
        names.collect::<Result<_, _>>().map(Self)
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }

    /// Every name there is.
    pub const fn all_names() -> [&'static str; 7] {
        NAMES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_what_it_was_given_and_every_subgraph_is_a_part() {
        let part = Part::of(["auth", "node", "auth"]).expect("known names");
        assert!(part.has("auth") && part.has("node") && !part.has("account"));
        let subgraphs = vostro_schema::modules::subgraph_sdls();
        assert_eq!(Part::of(subgraphs.iter().map(|(name, _)| *name)), Ok(Part::whole()));
        let unknown = Part::of(["accounts"]).expect_err("unknown").to_string();
        assert!(unknown.contains("accounts") && unknown.contains("compliance"), "{unknown}");
    }
}
