//! Whom an access token speaks for, asked of a process that knows the keys and which sessions have ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use tracing::warn;
use uuid::Uuid;
use vostro_kernel::{Actor, Clock, Ids, Role};

use super::http::{Failure, HttpError, HttpTimes, Line, with_causes};
use super::statement::{GatewayKey, Statement};
use super::{IDENTITY_AUDIENCE, IDENTITY_PATH};
use crate::door::{AuthFault, Authenticator, Principal, sha256};

/// For how long an answer is taken for the truth: a session that ends goes on for no longer than that here.
const FRESH: Duration = Duration::from_secs(1);
/// And for how long when nobody can be asked.
const STALE: Duration = Duration::from_secs(10);
/// Answers that are kept.
const KEPT: u64 = 100_000;

/// The question.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    pub token: String,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Identity {
    Principal(Person),
    Fault(AuthFault),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    user_id: Uuid,
    session_id: Option<Uuid>,
    roles: Vec<Role>,
    expires_at: Option<DateTime<Utc>>,
}

/// Somebody who is logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", from = "Written")]
pub(super) struct Person(Principal);

impl From<Written> for Person {
    fn from(written: Written) -> Self {
        let roles = written.roles.into_iter().collect();
        let actor = Actor::person(written.user_id, roles, written.session_id);
        Self(Principal { actor, expires_at: written.expires_at })
    }
}

impl From<Person> for Written {
    fn from(Person(Principal { actor, expires_at }): Person) -> Self {
        let user_id = actor.id.unwrap_or_default();
        Self { user_id, session_id: actor.session, roles: actor.roles.iter().collect(), expires_at }
    }
}

impl From<Result<Principal, AuthFault>> for Identity {
    fn from(result: Result<Principal, AuthFault>) -> Self {
        match result {
            Ok(principal) => Self::Principal(Person(principal)),
            Err(fault) => Self::Fault(fault),
        }
    }
}

impl From<Identity> for Result<Principal, AuthFault> {
    fn from(identity: Identity) -> Self {
        match identity {
            Identity::Principal(Person(principal)) => Ok(principal),
            Identity::Fault(fault) => Err(fault),
        }
    }
}

#[derive(Clone)]
struct Known {
    asked: Instant,
    identity: Identity,
}

/// Reads access tokens in a process without the keys, by asking one that has them. Answers are kept for a second; those
/// of before serve for ten when nobody can be asked.
pub struct RemoteAuthenticator {
    line: Line,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    known: Cache<String, Known>,
}

impl RemoteAuthenticator {
    /// Asks the process with the auth module, at this base address.
    ///
    /// # Errors
    /// [`HttpError::Address`] when the address is none.
    pub fn new(
        base: &str,
        key: Arc<GatewayKey>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        times: HttpTimes,
    ) -> Result<Self, HttpError> {
        let line = Line::new(base, key, Arc::clone(&clock), times)?;
        let known = Cache::builder().max_capacity(KEPT).time_to_live(STALE).build();
        Ok(Self { line, clock, ids, known })
    }

    async fn identity(&self, token: &str) -> Result<Identity, AuthFault> {
        // Not the token itself: what is kept in memory must not be what opens the door.
        let digest = sha256(token);
        let known = self.known.get(&digest);
        if let Some(known) = known.as_ref().filter(|known| known.asked.elapsed() < FRESH) {
            return Ok(known.identity);
        }
        let asked = Instant::now();
        match tokio::time::timeout(self.line.times.call, self.ask(token)).await.unwrap_or(Err(Failure::Late)) {
            Ok(identity) => {
                self.known.insert(digest, Known { asked, identity });
                Ok(identity)
            }
            Err(failure) => {
                warn!(failure = with_causes(&failure), "nobody can be asked about access tokens");
                known.map(|known| known.identity).ok_or(AuthFault::Unavailable)
            }
        }
    }

    async fn ask(&self, token: &str) -> Result<Identity, Failure> {
        match self.ask_once(token).await {
            // A question may be asked twice.
            Err(Failure::Unreachable(_) | Failure::Lost(_)) => self.ask_once(token).await,
            answered => answered,
        }
    }

    async fn ask_once(&self, token: &str) -> Result<Identity, Failure> {
        let statement = Statement {
            actor: Actor::ANONYMOUS,
            correlation_id: self.ids.next(),
            traceparent: None,
            wait_ms: u64::try_from(self.line.times.call.as_millis()).unwrap_or(u64::MAX),
        };
        let body = serde_json::to_vec(&Question { token: token.to_owned() }).expect("a text can be written as JSON");
        let response = self.line.post(IDENTITY_PATH, IDENTITY_AUDIENCE, &statement, "application/json", body).await?;
        let bytes = response.bytes().await.map_err(Failure::Lost)?;
        serde_json::from_slice(&bytes).map_err(|error| Failure::Unreadable(error.to_string()))
    }
}

#[async_trait]
impl Authenticator for RemoteAuthenticator {
    async fn authenticate(&self, bearer: Option<&str>) -> Result<Principal, AuthFault> {
        let Some(token) = bearer else { return Ok(Principal::ANONYMOUS) };
        let principal = Result::from(self.identity(token).await?)?;
        match principal.expires_at {
            // It may have expired since the answer came.
            Some(at) if at <= self.clock.now() => Err(AuthFault::Expired),
            _ => Ok(principal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_was_written() {
        let roles = [Role::Operator].into_iter().collect();
        let actor = Actor::person(Uuid::from_u128(1), roles, Some(Uuid::from_u128(2)));
        let principal = Principal { actor, expires_at: Some(DateTime::UNIX_EPOCH) };
        for result in [Ok(principal), Err(AuthFault::Revoked), Err(AuthFault::Expired)] {
            let text = serde_json::to_string(&Identity::from(result)).expect("JSON");
            let read: Identity = serde_json::from_str(&text).expect("an identity");
            assert_eq!(Result::from(read), result, "{text}");
        }
    }
}
