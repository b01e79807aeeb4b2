use std::borrow::Cow;
use std::collections::HashSet;

use uuid::Uuid;
use vostro_events::{Chain, Envelope, EventType, is_copy, upcasters};

use crate::{EventSelector, HandlerError, Incoming};

/// Reads events in the versions its owner names, and all earlier ones of them through the upcasters.
///
/// An event of a version that is named is passed on untouched, at the price of looking at its type and at one digit of
/// its id. What was sent stays what is stored, parked and archived: reading comes last, just before the handler.
///
/// What is published in two versions is one thing, whichever copy comes first; a handler sees it under its identity
/// ([`Envelope::identity`]), and so do the inbox and the parked messages.
#[derive(Debug, Clone)]
pub struct EventReader {
    named: EventSelector,
    earlier: Vec<(&'static str, Chain)>,
}

impl EventReader {
    /// A reader of these types.
    pub fn of(types: &'static [&'static str]) -> Self {
        Self::selecting(EventSelector::Types(types))
    }

    pub(crate) fn selecting(named: EventSelector) -> Self {
        let EventSelector::Types(types) = named else { return Self { named, earlier: Vec::new() } };
        let earlier = types.iter().flat_map(|to| {
            let history = upcasters().history_of(to).into_iter();
            history.filter_map(|from| Some((from, upcasters().chain(from, to)?)))
        });
        Self { named, earlier: earlier.collect() }
    }

    /// The types it takes: those it names and the earlier versions of each. `None` when it takes every event.
    pub fn types(&self) -> Option<Vec<&'static str>> {
        let EventSelector::Types(types) = self.named else { return None };
        Some(types.iter().copied().chain(self.earlier.iter().map(|(from, _)| *from)).collect())
    }

    /// Whether it takes events of this type.
    pub fn takes(&self, event_type: &str) -> bool {
        self.names(event_type) || self.chain_from(event_type).is_some()
    }

    /// What an event is known by. Whoever takes every event takes each version of one for itself.
    pub fn identity(&self, envelope: &Envelope) -> Uuid {
        match self.named {
            EventSelector::Types(_) => envelope.identity(),
            EventSelector::All => envelope.id,
        }
    }

    /// Whether it is the newer of two versions that were published, and the reader takes the older one. Leaving this
    /// one loses nothing.
    fn is_other_version(&self, envelope: &Envelope) -> bool {
        is_copy(envelope.id) && !self.takes(envelope.event_type.as_str()) && self.takes_older_than(&envelope.event_type)
    }

    /// Takes out newer versions of what is also told in the version that is taken here. To be acknowledged, and no more: no
    /// inbox row, nothing parked, no position touched.
    pub(crate) fn leave_other_versions(&self, events: &mut Vec<Incoming>) {
        events.retain(|Incoming { envelope, .. }| !self.is_other_version(envelope));
    }

    /// The events in the versions that are named, each once in whichever versions it came. What is not taken is left out.
    ///
    /// # Errors
    /// [`HandlerError::Invalid`] for an event of an earlier version that does not fit what was ever released as such.
    pub fn read<'a>(&self, events: &'a [Incoming]) -> Result<Cow<'a, [Incoming]>, HandlerError> {
        if events.iter().all(|event| self.is_current(event)) {
            return Ok(Cow::Borrowed(events));
        }
        let mut seen = HashSet::with_capacity(events.len());
        let mut read = Vec::with_capacity(events.len());
        for event in events {
            let identity = self.identity(&event.envelope);
            if self.takes(event.envelope.event_type.as_str()) && seen.insert(identity) {
                read.push(self.read_one(event, identity)?);
            }
        }
        Ok(Cow::Owned(read))
    }

    fn read_one(&self, event: &Incoming, identity: Uuid) -> Result<Incoming, HandlerError> {
        let envelope = Envelope { id: identity, ..event.envelope.clone() };
        let Some(chain) = self.chain_from(envelope.event_type.as_str()) else {
            return Ok(Incoming { envelope, data: event.data.clone() });
        };
        let event_type = EventType::of(chain.to);
        let data = chain.apply(&event.data).map_err(|error| HandlerError::Invalid {
            event: identity,
            reason: format!("{} {error}", envelope.event_type),
        })?;
        Ok(Incoming { envelope: Envelope { event_type, ..envelope }, data })
    }

    fn is_current(&self, event: &Incoming) -> bool {
        self.named == EventSelector::All
            || (!is_copy(event.envelope.id) && self.names(event.envelope.event_type.as_str()))
    }

    fn names(&self, event_type: &str) -> bool {
        match self.named {
            EventSelector::Types(types) => types.contains(&event_type),
            EventSelector::All => true,
        }
    }

    fn chain_from(&self, event_type: &str) -> Option<&Chain> {
        self.earlier.iter().find_map(|(from, chain)| (*from == event_type).then_some(chain))
    }

    fn takes_older_than(&self, newer: &EventType) -> bool {
        let EventSelector::Types(types) = self.named else { return false };
        types
            .iter()
            .map(|named| EventType::of(named))
            .any(|named| named.event() == newer.event() && named.major() < newer.major())
    }
}
