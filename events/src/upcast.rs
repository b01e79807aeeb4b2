//! Old versions of events, read as new ones.
//!
//! An [`Upcaster`] turns the data of one major version into those of the next. It is declared beside the newer event, is a
//! pure function of JSON, and is chained with those that follow: an event of version 1 is read by whoever takes version 3
//! through two of them. What was written stays as it was written, on the wire, parked, dead-lettered and in the archive;
//! upcasting is part of reading.
//!
//! There is no way back: a reader of an old version is served by its producer, which publishes both
//! ([`copy_of`](crate::copy_of)).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::{EventType, catalog};

/// From one major version of an event to the next.
#[derive(Debug, Clone, Copy)]
pub struct Upcaster {
    /// The type it reads, such as `account.account-updated.v1`.
    pub from: &'static str,
    /// The next major version of the same event.
    pub to: &'static str,
    /// Data that fit any released schema of `from`, as data that fit the schema of `to`.
    pub upcast: fn(Value) -> Result<Value, NotUpcast>,
}

/// The data are not what was ever released under their type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot be read as {to}: {reason}")]
pub struct NotUpcast {
    pub to: &'static str,
    pub reason: String,
}

impl NotUpcast {
    pub fn new(to: &'static str, reason: impl Into<String>) -> Self {
        Self { to, reason: reason.into() }
    }
}

/// The upcasters do not make chains.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    #[error("{to} is not the next version of {from}")]
    NotNext { from: &'static str, to: &'static str },
    #[error("{0} has two upcasters")]
    Twice(&'static str),
}

/// An old version of an event was released, and nothing leads from it to the one that is to be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no upcaster leads from {from} to {to}: what was released as {from} could not be read any more")]
pub struct MissingLink {
    pub from: &'static str,
    pub to: &'static str,
}

/// The way from one version of an event to a later one.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Where it leads.
    pub to: &'static str,
    links: Vec<Upcaster>,
}

impl Chain {
    /// Reads the data of the earlier version as those of the later one.
    ///
    /// # Errors
    /// [`NotUpcast`]: somebody wrote what the earlier version does not allow.
    pub fn apply(&self, data: &RawValue) -> Result<Box<RawValue>, NotUpcast> {
        let unreadable = |error: serde_json::Error| NotUpcast::new(self.to, error.to_string());
        let mut value = serde_json::from_str(data.get()).map_err(unreadable)?;
        for link in &self.links {
            value = (link.upcast)(value)?;
        }
        serde_json::value::to_raw_value(&value).map_err(unreadable)
    }
}

/// All upcasters there are.
#[derive(Debug, Default)]
pub struct Upcasters {
    by_source: BTreeMap<&'static str, Upcaster>,
}

impl Upcasters {
    /// # Errors
    /// [`BrokenChain`] when one does not lead to the next version of its event, or two begin at the same one.
    pub fn of(upcasters: impl IntoIterator<Item = Upcaster>) -> Result<Self, BrokenChain> {
        let mut by_source = BTreeMap::new();
        for upcaster in upcasters {
            let (from, to) = (EventType::of(upcaster.from), EventType::of(upcaster.to));
            if from.event() != to.event() || from.major() + 1 != to.major() {
                return Err(BrokenChain::NotNext { from: upcaster.from, to: upcaster.to });
            }
            if by_source.insert(upcaster.from, upcaster).is_some() {
                return Err(BrokenChain::Twice(upcaster.from));
            }
        }
        Ok(Self { by_source })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Upcaster> {
        self.by_source.values()
    }

    /// The way from `from` to a later version of the same event; `None` when there is none.
    pub fn chain(&self, from: &str, to: &'static str) -> Option<Chain> {
        let mut links = Vec::new();
        let mut at = from;
        while at != to {
            let link = *self.by_source.get(at)?;
            at = link.to;
            links.push(link);
        }
        (!links.is_empty()).then_some(Chain { to, links })
    }

    /// The earlier versions that can be read as this one, the oldest first.
    pub fn history_of(&self, event_type: &str) -> Vec<&'static str> {
        let mut history = Vec::new();
        let mut at = event_type;
        while let Some(before) = self.by_source.values().find(|upcaster| upcaster.to == at) {
            history.push(before.from);
            at = before.from;
        }
        history.reverse();
        history
    }

    /// Whether every earlier version in `released` can be read as `event_type`.
    ///
    /// # Errors
    /// [`MissingLink`] with the latest one that cannot.
    pub fn reach(&self, released: &[&'static str], event_type: &'static str) -> Result<(), MissingLink> {
        let this = EventType::of(event_type);
        let earlier = |other: &EventType| other.event() == this.event() && other.major() < this.major();
        let lost = released
            .iter()
            .filter(|from| earlier(&EventType::of(from)) && self.chain(from, event_type).is_none())
            .max_by_key(|from| EventType::of(from).major());
        lost.map_or(Ok(()), |from| Err(MissingLink { from, to: event_type }))
    }
}

/// The upcasters of this release.
///
/// # Panics
/// When they do not make chains, which the tests of this crate would have noticed.
pub fn upcasters() -> &'static Upcasters {
    static ALL: LazyLock<Upcasters> =
        LazyLock::new(|| Upcasters::of(crate::catalog::upcasters()).expect("each leads to the next version, once"));
    &ALL
}

/// The data of an event that was written as one version, as those of that version or a later one. For whoever finds events
/// that are stored; a subscriber is handed them in the version it names.
///
/// # Errors
/// [`NotUpcast`]: it is another event, or the data do not fit what was released under its type.
pub fn read_data<'a>(written: &str, data: &'a RawValue, wanted: &'static str) -> Result<Cow<'a, RawValue>, NotUpcast> {
    if written == wanted {
        return Ok(Cow::Borrowed(data));
    }
    let chain = upcasters().chain(written, wanted);
    let chain = chain.ok_or_else(|| NotUpcast::new(wanted, format!("no upcaster leads there from {written}")))?;
    chain.apply(data).map(Cow::Owned)
}

/// Whether whoever takes this event can read all that was released of it.
///
/// # Errors
/// [`MissingLink`].
pub fn reads_all_history(event_type: &'static str) -> Result<(), MissingLink> {
    static RELEASED: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| catalog().iter().map(|event| event.event_type).collect());
    upcasters().reach(&RELEASED, event_type)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ONE: &str = "card.card-issued.v1";
    const TWO: &str = "card.card-issued.v2";
    const THREE: &str = "card.card-issued.v3";

    const fn link(from: &'static str, to: &'static str) -> Upcaster {
        Upcaster { from, to, upcast: Ok }
    }

    /// Each adds its mark, so that the order can be seen.
    fn marking() -> Upcasters {
        fn mark(mut value: Value, mark: &str) -> Value {
            value["seen"] = json!(format!("{}{mark}", value["seen"].as_str().unwrap_or_default()));
            value
        }
        let upcasters = [
            Upcaster { from: TWO, to: THREE, upcast: |value| Ok(mark(value, "b")) },
            Upcaster { from: ONE, to: TWO, upcast: |value| Ok(mark(value, "a")) },
        ];
        Upcasters::of(upcasters).expect("a chain")
    }

    #[test]
    fn links_are_chained_from_the_old_to_the_new() {
        let upcasters = marking();
        let data = RawValue::from_string("{\"seen\":\"\"}".to_owned()).expect("JSON");
        let read =
            |from, to| upcasters.chain(from, to).expect("a chain").apply(&data).expect("upcast").get().to_owned();
        assert_eq!(read(ONE, THREE), r#"{"seen":"ab"}"#);
        assert_eq!(read(ONE, TWO), r#"{"seen":"a"}"#);
        assert_eq!(upcasters.history_of(THREE), [ONE, TWO]);
        assert_eq!(upcasters.history_of(ONE), Vec::<&str>::new());
    }

    #[test]
    fn there_is_no_way_back_and_none_to_itself() {
        assert!(marking().chain(THREE, ONE).is_none());
        assert!(marking().chain(ONE, ONE).is_none());
    }

    #[test]
    fn a_version_that_is_left_out_is_refused() {
        let broken = Upcasters::of([link(ONE, THREE)]).expect_err("two versions at once");
        assert_eq!(broken, BrokenChain::NotNext { from: ONE, to: THREE });
        let broken = Upcasters::of([link(ONE, "card.card-lost.v2")]).expect_err("another event");
        assert_eq!(broken.to_string(), "card.card-lost.v2 is not the next version of card.card-issued.v1");
        assert_eq!(Upcasters::of([link(ONE, TWO), link(ONE, TWO)]).expect_err("twice"), BrokenChain::Twice(ONE));
    }

    #[test]
    fn a_released_version_that_nothing_leads_from_is_named() {
        let released = [ONE, TWO, THREE, "card.card-lost.v1"];
        assert_eq!(marking().reach(&released, THREE), Ok(()));
        let upcasters = Upcasters::of([link(ONE, TWO)]).expect("a chain");
        assert_eq!(upcasters.reach(&released, THREE), Err(MissingLink { from: TWO, to: THREE }));
        assert_eq!(upcasters.reach(&released, TWO), Ok(()));
        let none = Upcasters::default();
        assert_eq!(none.reach(&released, TWO), Err(MissingLink { from: ONE, to: TWO }));
        assert_eq!(none.reach(&released, ONE), Ok(()));
    }

    #[test]
    fn data_that_were_never_released_are_refused_with_a_reason() {
        let refusing = Upcaster { from: ONE, to: TWO, upcast: |_| Err(NotUpcast::new(TWO, "there is no card")) };
        let upcasters = Upcasters::of([refusing]).expect("a chain");
        let data = RawValue::from_string("[]".to_owned()).expect("JSON");
        let refused = upcasters.chain(ONE, TWO).expect("a chain").apply(&data).expect_err("refused");
        assert_eq!(refused.to_string(), "cannot be read as card.card-issued.v2: there is no card");
    }
}
