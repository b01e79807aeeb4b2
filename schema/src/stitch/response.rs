//! Writing the answer of one operation: data, and errors as clients may see them.

use std::time::Duration;

use async_graphql::{PathSegment, Value};
use serde::Serialize;
use uuid::Uuid;

use super::cost::{Cost, Throttle};
use super::error::{FieldError, Location, RequestError};
use super::projection::json;
use crate::faults::FaultCode;

/// The answer to one operation, or to one event of a subscription.
#[derive(Debug, Clone)]
pub struct Reply {
    /// A GraphQL response as JSON.
    pub body: Vec<u8>,
    /// Whether the operation was executed, so that there is a `data` member.
    pub executed: bool,
    /// Whether there is a `data` member that is not `null`.
    pub has_data: bool,
    /// The code of the first error, if there is one.
    pub code: Option<FaultCode>,
    /// The `errors` member alone, for protocols that send errors apart.
    pub errors: Option<Vec<u8>>,
    /// What the answer came to, in points; 0 for a request that was not executed.
    pub spent: u32,
    /// After which time it is worth trying again.
    pub retry_after: Option<Duration>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    locations: &'a [Location],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    path: &'a [PathSegment],
    extensions: Extensions<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extensions<'a> {
    code: &'static str,
    retryable: bool,
    trace_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "retryAfterMs")]
    wait: Option<u64>,
}

const HIDDEN: &str = "Something went wrong inside the bank. Quote the traceId when you report this.";

impl Reply {
    /// The answer to a request that was not executed. It has no `data` member.
    pub fn refused(errors: &[RequestError], correlation_id: Uuid) -> Self {
        let bodies: Vec<_> = errors
            .iter()
            .map(|error| ErrorBody {
                message: &error.message,
                locations: &error.locations,
                path: &[],
                extensions: Extensions {
                    wait: error.retry_after.map(millis),
                    ..Extensions::of(error.code, correlation_id)
                },
            })
            .collect();
        let mut list = Vec::with_capacity(256);
        json(&bodies, &mut list);
        let mut body = Vec::with_capacity(list.len() + 16);
        body.extend_from_slice(b"{\"errors\":");
        body.extend_from_slice(&list);
        body.push(b'}');
        Self {
            body,
            executed: false,
            has_data: false,
            code: errors.first().map(|error| error.code),
            errors: Some(list),
            spent: 0,
            retry_after: errors.first().and_then(|error| error.retry_after),
        }
    }

    /// The answer to a request that was executed. `write` appends the data and tells whether it is not `null`.
    pub fn executed(errors: &[FieldError], correlation_id: Uuid, write: impl FnOnce(&mut Vec<u8>) -> bool) -> Self {
        let mut body = Vec::with_capacity(1024);
        body.extend_from_slice(b"{\"data\":");
        let has_data = write(&mut body);
        // No data and no error would leave the client without a reason.
        let unexplained = [FieldError::unexplained()];
        let errors = if !has_data && errors.is_empty() { &unexplained } else { errors };
        let shown: Vec<Shown> = errors.iter().map(|error| Shown::of(error, correlation_id)).collect();
        let mut list = None;
        if !shown.is_empty() {
            let bodies: Vec<_> =
                shown.iter().zip(errors).map(|(shown, error)| shown.body(error, correlation_id)).collect();
            let start = body.len() + b",\"errors\":".len();
            body.extend_from_slice(b",\"errors\":");
            json(&bodies, &mut body);
            list = Some(body[start..].to_vec());
        }
        body.push(b'}');
        Self {
            body,
            executed: true,
            has_data,
            code: shown.first().map(|shown| shown.code),
            errors: list,
            spent: 0,
            retry_after: None,
        }
    }

    /// Tells what it cost, in `extensions.cost`.
    pub fn with_cost(mut self, cost: Cost, throttle: Throttle) -> Self {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Told {
            requested_query_cost: u32,
            actual_query_cost: u32,
            throttle_status: Throttle,
        }
        let told =
            Told { requested_query_cost: cost.requested, actual_query_cost: cost.actual, throttle_status: throttle };
        if self.body.pop().is_some() {
            self.body.extend_from_slice(b",\"extensions\":{\"cost\":");
            json(&told, &mut self.body);
            self.body.extend_from_slice(b"}}");
        }
        self
    }
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

impl Extensions<'_> {
    const fn of(code: FaultCode, trace_id: Uuid) -> Self {
        Self {
            code: code.as_str(),
            retryable: code.retryable(),
            trace_id,
            module: None,
            retry_after_ms: None,
            wait: None,
        }
    }
}

/// What of a module's error may be shown.
struct Shown {
    code: FaultCode,
    hidden: bool,
}

impl Shown {
    /// An error with a code of the closed list was written for the client. Anything else is a fault: logged here, once,
    /// and hidden.
    fn of(error: &FieldError, correlation_id: Uuid) -> Self {
        let extensions = error.error.extensions.as_ref();
        let code = match extensions.and_then(|extensions| extensions.get("code")) {
            Some(Value::String(name)) => FaultCode::named(name),
            _ if is_input_error(error) => Some(FaultCode::BadUserInput),
            _ => None,
        };
        if let Some(code) = code.filter(|code| *code != FaultCode::InternalServerError) {
            return Self { code, hidden: false };
        }
        let module = error.module.as_deref().unwrap_or_default();
        let path: String = error.path.iter().fold(String::new(), |path, step| match step {
            PathSegment::Field(name) => path + "/" + name,
            PathSegment::Index(index) => format!("{path}/{index}"),
        });
        tracing::error!(%correlation_id, module, path, error = %error.error.message, "a resolver failed");
        Self { code: FaultCode::InternalServerError, hidden: true }
    }

    fn body<'a>(&self, error: &'a FieldError, correlation_id: Uuid) -> ErrorBody<'a> {
        let extensions = error.error.extensions.as_ref();
        ErrorBody {
            message: if self.hidden { HIDDEN } else { &error.error.message },
            locations: &[],
            path: &error.path,
            extensions: Extensions {
                module: error.module.as_deref(),
                retry_after_ms: extensions.and_then(|extensions| extensions.get("retryAfterMs")),
                ..Extensions::of(self.code, correlation_id)
            },
        }
    }
}

/// async-graphql's own input validators say what is wrong with an argument without a code. Their messages begin like
/// this, and unlike an error passed up by `?` they have no source.
fn is_input_error(error: &FieldError) -> bool {
    let message = &error.error.message;
    error.error.source.is_none()
        && (message.starts_with("Failed to parse \"") || message.starts_with("Expected input type \""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{internal, module_unavailable};

    fn reply(error: async_graphql::Error) -> serde_json::Value {
        let error = FieldError {
            module: Some("account".into()),
            path: vec![PathSegment::Field("a".into()), PathSegment::Index(1)],
            error: error.into_server_error(async_graphql::Pos::default()),
        };
        let reply = Reply::executed(&[error], Uuid::nil(), |out| {
            out.extend_from_slice(b"{\"a\":null}");
            true
        });
        serde_json::from_slice(&reply.body).expect("JSON")
    }

    #[test]
    fn an_error_tells_code_module_trace_and_whether_to_repeat() {
        let body = reply(module_unavailable());
        assert_eq!(body["data"], serde_json::json!({"a": null}));
        assert_eq!(body["errors"][0]["path"], serde_json::json!(["a", 1]));
        assert_eq!(
            body["errors"][0]["extensions"],
            serde_json::json!({
                "code": "MODULE_UNAVAILABLE",
                "retryable": true,
                "traceId": "00000000-0000-0000-0000-000000000000",
                "module": "account"
            })
        );
    }

    #[test]
    fn an_error_without_a_code_shows_no_internal_text() {
        let body = reply(internal("connection to 10.0.0.7 refused"));
        assert_eq!(body["errors"][0]["extensions"]["code"], "INTERNAL_SERVER_ERROR");
        assert!(!body.to_string().contains("10.0.0.7"), "{body}");
    }

    #[test]
    fn a_refused_request_has_no_data_member() {
        let error = RequestError::new(FaultCode::GraphqlParseFailed, "not GraphQL").at(1, 2);
        let reply = Reply::refused(&[error], Uuid::nil());
        let body: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert!(body.get("data").is_none());
        assert_eq!(body["errors"][0]["locations"], serde_json::json!([{"line": 1, "column": 2}]));
    }
}
