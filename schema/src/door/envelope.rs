//! The envelope of an operation: `query`, `operationName`, `variables`.

use std::borrow::Cow;
use std::collections::HashMap;

use async_graphql::Variables;
use serde::Deserialize;

use crate::faults::FaultCode;
use crate::stitch::RequestError;

/// One operation as a client sends it. Unknown members are ignored, as the protocol wants it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope<'a> {
    #[serde(borrow, default)]
    pub query: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub operation_name: Option<Cow<'a, str>>,
    #[serde(default)]
    pub variables: Variables,
    /// Nothing in it is used, but it has to be an object.
    #[serde(borrow, default, rename = "extensions")]
    _extensions: Option<HashMap<Cow<'a, str>, serde::de::IgnoredAny>>,
}

fn malformed(message: &str) -> RequestError {
    RequestError::new(FaultCode::BadUserInput, message)
}

impl<'a> Envelope<'a> {
    /// Reads a request body.
    ///
    /// # Errors
    /// `BATCH_LIMIT_EXCEEDED` for an array of operations, `BAD_USER_INPUT` for everything else that is no envelope. The
    /// body is not repeated in messages.
    pub fn from_json(body: &'a [u8]) -> Result<Self, RequestError> {
        match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'[') => {
                let message = "Send one operation per request: batches are not accepted.";
                return Err(RequestError::new(FaultCode::BatchLimitExceeded, message));
            }
            Some(b'{') => {}
            _ => return Err(malformed("The request body must be a JSON object with `query`.")),
        }
        serde_json::from_slice(body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let reason = match error.classify() {
                serde_json::error::Category::Data => {
                    "`query` and `operationName` must be strings, `variables` and `extensions` objects"
                }
                _ => "the request body is not JSON",
            };
            malformed(&format!("Malformed request: {reason} (line {line}, column {column})."))
        })
    }

    /// Reads the query parameters of a GET request.
    ///
    /// # Errors
    /// `BAD_USER_INPUT` when `variables` is not a JSON object.
    pub fn from_parameters(
        query: Option<&'a str>,
        operation_name: Option<&'a str>,
        variables: Option<&str>,
    ) -> Result<Self, RequestError> {
        let variables = variables.filter(|text| !text.is_empty()).map(serde_json::from_str).transpose();
        Ok(Self {
            query: query.map(Cow::Borrowed),
            operation_name: operation_name.map(Cow::Borrowed),
            variables: variables.map_err(|_| malformed("`variables` must be a JSON object."))?.unwrap_or_default(),
            _extensions: None,
        })
    }

    /// The document, which must be there.
    ///
    /// # Errors
    /// `BAD_USER_INPUT` when it is missing.
    pub fn document(&self) -> Result<&str, RequestError> {
        self.query.as_deref().ok_or_else(|| malformed("The request has no `query`."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &str) -> Option<FaultCode> {
        Envelope::from_json(body.as_bytes())
            .and_then(|envelope| envelope.document().map(|_| ()))
            .err()
            .map(|error| error.code)
    }

    #[test]
    fn an_envelope_has_a_query_and_may_have_more() {
        let body = r#"{"query": "{ a }", "operationName": null, "variables": null, "extensions": {"x": 1}, "id": 7}"#;
        assert_eq!(code(body), None);
        assert_eq!(code(r#" {"query":"{\n a }","variables":{"a":[1,{"b":null}]}}"#), None);
    }

    #[test]
    fn what_is_no_envelope_is_refused_without_repeating_it() {
        for body in [
            "",
            "null",
            "7",
            "\"{ a }\"",
            "{",
            "{}",
            r#"{"query": 7}"#,
            r#"{"query": null}"#,
            r#"{"query": ["a"]}"#,
            r#"{"query": "{a}", "variables": "secret"}"#,
            r#"{"query": "{a}", "variables": [1]}"#,
            r#"{"query": "{a}", "operationName": 3}"#,
            r#"{"query": "{a}", "extensions": 3}"#,
            "\u{feff}{}",
        ] {
            assert_eq!(code(body), Some(FaultCode::BadUserInput), "{body}");
            let error = Envelope::from_json(body.as_bytes()).err();
            assert!(error.is_none_or(|error| !error.message.contains("secret")), "{body}");
        }
        assert_eq!(code("[]"), Some(FaultCode::BatchLimitExceeded));
        assert_eq!(code(r#"[{"query": "{ a }"}]"#), Some(FaultCode::BatchLimitExceeded));
    }

    #[test]
    fn nesting_beyond_reason_is_refused() {
        let deep =
            format!("{{\"query\": \"{{a}}\", \"variables\": {{\"a\": {}{}}}}}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(code(&deep), Some(FaultCode::BadUserInput));
    }
}
