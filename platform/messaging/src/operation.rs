use sqlx::PgConnection;
use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::operator::{DecidedMessageV1, OperatorActedV1, OperatorAction, OperatorStep};
use vostro_kernel::RequestContext;

use crate::{Foundation, NewEvent};

/// Something an operator does to a module's messaging, and how it is told to the audit log.
#[derive(Clone)]
pub struct Operation {
    id: Uuid,
    module: &'static str,
    action: OperatorAction,
    command: &'static str,
    pub subscription: Option<String>,
    pub reason: Option<String>,
    pub messages: Vec<DecidedMessageV1>,
    /// How many events it is about, where `messages` does not name them.
    pub count: usize,
}

impl Operation {
    /// One event names at most so many messages, so that it stays far below the size cap of a message.
    const MESSAGES_PER_EVENT: usize = 100;

    /// `command` is its name in the audit log.
    pub const fn new(id: Uuid, module: &'static str, action: OperatorAction, command: &'static str) -> Self {
        Self { id, module, action, command, subscription: None, reason: None, messages: Vec::new(), count: 0 }
    }

    /// How many events telling about so many messages takes.
    pub(crate) fn events_for(messages: usize) -> i64 {
        i64::try_from(messages.div_ceil(Self::MESSAGES_PER_EVENT).max(1)).unwrap_or(i64::MAX)
    }

    /// Writes the step to the module's outbox. `first` is the sequence of its first event in the operation.
    ///
    /// # Errors
    /// Database faults.
    pub async fn tell_in_tx(
        self,
        foundation: &Foundation,
        connection: &mut PgConnection,
        context: &RequestContext,
        step: OperatorStep,
        first: i64,
    ) -> sqlx::Result<()> {
        let now = foundation.clock.now();
        let count = i64::try_from(self.messages.len().max(self.count)).unwrap_or(i64::MAX);
        let mut parts: Vec<Vec<DecidedMessageV1>> =
            self.messages.chunks(Self::MESSAGES_PER_EVENT).map(<[_]>::to_vec).collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        let events = parts.into_iter().zip(first..).map(|(messages, sequence)| {
            let event = OperatorActedV1 {
                operation_id: self.id,
                module: self.module.to_owned(),
                action: self.action,
                step,
                subscription: self.subscription.clone(),
                reason: self.reason.clone(),
                count,
                messages,
            };
            let cause = Cause::command(context, self.command);
            NewEvent::new(foundation.ids.next(), now, sequence, cause, &event)
        });
        foundation.outbox.append_in_tx(connection, events.collect()).await
    }
}
