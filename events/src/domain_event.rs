use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::NotUpcast;

/// One version of one event.
pub trait DomainEvent: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The kind of aggregate whose sequence the event is numbered in. Sequences start at 1 and have no gaps, so a
    /// subscriber to all events of one aggregate kind can prove it missed nothing.
    const AGGREGATE: &'static str;

    /// `<module>.<event>.v<major>`, the CloudEvents type and the stem of the routing key.
    fn event_type(&self) -> &'static str;

    /// The aggregate the event happened to.
    fn aggregate_id(&self) -> Uuid;

    /// What order is kept by: events with the same key travel in the same slot.
    fn partition_key(&self) -> Uuid {
        self.aggregate_id()
    }
}

/// A version of an event that follows another: the same thing told in another way.
pub trait NextVersionOf<Before: DomainEvent>: DomainEvent {
    /// Reads what was told in the old way.
    ///
    /// # Errors
    /// [`NotUpcast`] when the data do not fit any released schema of the version before.
    fn upcast(before: Value) -> Result<Value, NotUpcast>;
}

/// Ties a struct to its type, aggregate and aggregate id, and lists it in the module's catalogue. A version that follows
/// another names it, and implements [`NextVersionOf`] it.
macro_rules! domain_events {
    ($($event:ident => $type:literal, $aggregate:literal, $id:ident $(, after $before:ident)?;)+) => {
        $(
            impl $event {
                /// The CloudEvents type of this event version.
                pub const TYPE: &'static str = $type;
            }

            impl $crate::DomainEvent for $event {
                const AGGREGATE: &'static str = $aggregate;

                fn event_type(&self) -> &'static str {
                    $type
                }

                fn aggregate_id(&self) -> uuid::Uuid {
                    self.$id
                }
            }
        )+

        pub(crate) fn describe() -> Vec<$crate::EventDescription> {
            vec![$($crate::EventDescription::of::<$event>($type)),+]
        }

        pub(crate) fn upcasters() -> Vec<$crate::Upcaster> {
            vec![$($($crate::Upcaster {
                from: <$before>::TYPE,
                to: $type,
                upcast: <$event as $crate::NextVersionOf<$before>>::upcast,
            },)?)+]
        }
    };
}

pub(crate) use domain_events;
