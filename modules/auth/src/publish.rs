//! The one translator from what happened in auth to what the other modules are told.

use chrono::{DateTime, Utc};
use uuid::Uuid;
use vostro_events::auth::{
    LoginMethod, RevocationReason, RoleAssignedV1, SessionRefreshedV1, SessionRevokedV1, UserLoggedInV1,
    UserRegisteredV1, UserUpdatedV1,
};
use vostro_events::command::CommandRefusedV1;
use vostro_events::{Cause, DomainEvent};
use vostro_kernel::{Ids, RefusalCode as _, RequestContext, Role, Roles};
use vostro_messaging::{Contact, ContactKey, NewEvent};

use crate::AuthErrorCode;
use crate::domain::User;
use crate::manifest::MODULE;

/// Makes the events of one command.
pub(crate) struct Publish<'a> {
    ids: &'a dyn Ids,
    context: &'a RequestContext,
    command: &'static str,
    now: DateTime<Utc>,
}

impl<'a> Publish<'a> {
    pub(crate) fn new(
        ids: &'a dyn Ids,
        context: &'a RequestContext,
        command: &'static str,
        now: DateTime<Utc>,
    ) -> Self {
        Self { ids, context, command, now }
    }

    pub(crate) fn registered(&self, user: &User, key: &ContactKey) -> NewEvent {
        let event = UserRegisteredV1 {
            user_id: user.id,
            sealed_contact: sealed_contact(user, key),
            locale: user.locale.clone(),
            roles: user.roles.iter().collect(),
        };
        self.accepted(1, &event)
    }

    pub(crate) fn logged_in(&self, user_id: Uuid, session_id: Uuid, sequence: i64) -> NewEvent {
        self.accepted(sequence, &UserLoggedInV1 { user_id, session_id, method: LoginMethod::Password })
    }

    pub(crate) fn updated(&self, user: &User, key: &ContactKey, changed: &[&'static str], sequence: i64) -> NewEvent {
        let event = UserUpdatedV1 {
            user_id: user.id,
            changed_fields: changed.iter().map(|field| (*field).to_owned()).collect(),
            sealed_contact: sealed_contact(user, key),
            locale: user.locale.clone(),
        };
        self.accepted(sequence, &event)
    }

    /// One event for each role that was given; the last has number `sequence`. Each tells all roles as of then.
    pub(crate) fn roles_assigned(&self, user_id: Uuid, before: Roles, given: Roles, sequence: i64) -> Vec<NewEvent> {
        let given = given.iter().collect::<Vec<Role>>();
        let first = sequence + 1 - i64::try_from(given.len()).unwrap_or(0);
        let mut roles = before;
        let mut events = Vec::with_capacity(given.len());
        for (role, sequence) in given.into_iter().zip(first..) {
            roles = roles.iter().chain([role]).collect();
            let event = RoleAssignedV1 { user_id, role, roles: roles.iter().collect() };
            let cause = if events.is_empty() { self.cause() } else { self.consequence() };
            events.push(self.event(sequence, cause, &event));
        }
        events
    }

    pub(crate) fn refreshed(&self, user_id: Uuid, session_id: Uuid, sequence: i64) -> NewEvent {
        self.accepted(sequence, &SessionRefreshedV1 { user_id, session_id })
    }

    /// A logout is the command's own doing; ending a session because its token was stolen is the consequence of a
    /// command that was refused.
    pub(crate) fn revoked(&self, user_id: Uuid, session_id: Uuid, reason: RevocationReason, sequence: i64) -> NewEvent {
        let cause = match reason {
            RevocationReason::Logout => self.cause(),
            RevocationReason::ReuseDetected => self.consequence(),
        };
        self.event(sequence, cause, &SessionRevokedV1 { user_id, session_id, reason })
    }

    /// The command was refused. `subject` is whom it was about, where that is known.
    pub(crate) fn refused(&self, code: AuthErrorCode, subject: Option<Uuid>) -> NewEvent {
        let event = CommandRefusedV1 {
            module: MODULE.to_owned(),
            command_id: self.context.command_id,
            command: self.command.to_owned(),
            code: code.code().to_owned(),
            subject_id: subject,
        };
        self.event(1, self.consequence(), &event)
    }

    fn accepted<E: DomainEvent>(&self, sequence: i64, event: &E) -> NewEvent {
        self.event(sequence, self.cause(), event)
    }

    fn event<E: DomainEvent>(&self, sequence: i64, cause: Cause, event: &E) -> NewEvent {
        NewEvent::new(self.ids.next(), self.now, sequence, cause, event)
    }

    fn cause(&self) -> Cause {
        Cause::command(self.context, self.command)
    }

    /// Caused by the command without being what the command was accepted for.
    fn consequence(&self) -> Cause {
        Cause { command: None, ..self.cause() }
    }
}

fn sealed_contact(user: &User, key: &ContactKey) -> String {
    key.seal(user.id, &Contact { display_name: user.display_name.clone(), email: user.email.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vostro_kernel::{Actor, SystemIds};

    #[test]
    fn roles_given_together_are_told_one_by_one_without_a_gap() {
        let context = RequestContext::of(Actor::SYSTEM, &SystemIds);
        let publish = Publish::new(&SystemIds, &context, "staffEnsure", DateTime::UNIX_EPOCH);
        let before = [Role::Customer].into_iter().collect();
        let given = [Role::Operator, Role::Admin].into_iter().collect();
        let events = publish.roles_assigned(Uuid::nil(), before, given, 7);
        let told = events.iter().map(|event| (event.envelope().sequence, event.envelope().cause.command.is_some()));
        assert_eq!(told.collect::<Vec<_>>(), [(6, true), (7, false)]);
    }
}
