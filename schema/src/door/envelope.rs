//! The envelope of an operation: `query`, `operationName`, `variables`.

use std::borrow::Cow;

use async_graphql::Variables;
use serde::Deserialize;
use serde_json::value::RawValue;

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
    /// The id of a registered document.
    #[serde(borrow, default, rename = "documentId")]
    document: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    extensions: Option<Extensions<'a>>,
}

/// Must be an object; of its members one is used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extensions<'a> {
    #[serde(borrow, default)]
    persisted_query: Option<PersistedQuery<'a>>,
}

#[derive(Debug, Deserialize)]
struct PersistedQuery<'a> {
    #[serde(borrow, rename = "sha256Hash")]
    hash: Cow<'a, str>,
}

fn malformed(message: &str) -> RequestError {
    RequestError::new(FaultCode::BadUserInput, message)
}

impl<'a> Envelope<'a> {
    /// Reads one operation.
    ///
    /// # Errors
    /// `BAD_USER_INPUT` for everything that is no envelope. The body is not repeated in messages.
    pub fn from_json(body: &'a [u8]) -> Result<Self, RequestError> {
        if !starts_with(body, b'{') {
            return Err(malformed("The request body must be a JSON object with `query`."));
        }
        read(body)
    }

    /// Reads a request body: one operation, or an array of them.
    ///
    /// # Errors
    /// As [`Envelope::from_json`]; `BATCH_LIMIT_EXCEEDED` for more operations than `limit`, and for none.
    pub fn batch(body: &'a [u8], limit: usize) -> Result<Batch<'a>, RequestError> {
        if !starts_with(body, b'[') {
            return Self::from_json(body).map(Batch::One);
        }
        let operations: Vec<&RawValue> = read(body)?;
        if !(1..=limit).contains(&operations.len()) || limit < 2 {
            let message = format!("A request has at most {limit} operations.");
            return Err(RequestError::new(FaultCode::BatchLimitExceeded, message));
        }
        let operations = operations.into_iter().map(|operation| Self::from_json(operation.get().as_bytes()));
        operations.collect::<Result<_, _>>().map(Batch::Several)
    }

    /// The id of a registered document, in whichever of the two ways clients write it.
    pub fn document_id(&self) -> Option<&str> {
        let apollo = self.extensions.as_ref().and_then(|extensions| extensions.persisted_query.as_ref());
        self.document.as_deref().or(apollo.map(|query| &*query.hash))
    }

    /// Reads the query parameters of a GET request.
    ///
    /// # Errors
    /// `BAD_USER_INPUT` when `variables` or `extensions` is not a JSON object.
    pub fn from_parameters(parameter: impl Fn(&str) -> Option<&'a str>) -> Result<Self, RequestError> {
        let text = |name| parameter(name).map(Cow::Borrowed);
        let object = |name| parameter(name).filter(|text| !text.is_empty());
        let variables = object("variables").map(serde_json::from_str).transpose();
        let extensions = object("extensions").map(serde_json::from_str).transpose();
        Ok(Self {
            query: text("query"),
            operation_name: text("operationName"),
            variables: variables.map_err(|_| malformed("`variables` must be a JSON object."))?.unwrap_or_default(),
            document: text("documentId"),
            extensions: extensions.map_err(|_| malformed("`extensions` must be a JSON object."))?,
        })
    }
}

/// What one request asks for.
#[derive(Debug)]
pub enum Batch<'a> {
    One(Envelope<'a>),
    Several(Vec<Envelope<'a>>),
}

fn starts_with(body: &[u8], wanted: u8) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&wanted)
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, RequestError> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let reason = match error.classify() {
            serde_json::error::Category::Data => {
                "`query`, `operationName` and `documentId` must be strings, `variables` and `extensions` objects"
            }
            _ => "the request body is not JSON",
        };
        malformed(&format!("Malformed request: {reason} (line {line}, column {column})."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &str) -> Option<FaultCode> {
        Envelope::batch(body.as_bytes(), 3).err().map(|error| error.code)
    }

    #[test]
    fn an_envelope_has_a_query_and_may_have_more() {
        let body = r#"{"query": "{ a }", "operationName": null, "variables": null, "extensions": {"x": 1}, "id": 7}"#;
        assert_eq!(code(body), None);
        assert_eq!(code(r#" {"query":"{\n a }","variables":{"a":[1,{"b":null}]}}"#), None);
    }

    #[test]
    fn the_parameters_of_an_address_say_what_a_body_says() {
        let read = |name: &'static str, value: &'static str| {
            Envelope::from_parameters(move |asked| (asked == name).then_some(value)).map_err(|error| error.code)
        };
        let hash = r#"{"persistedQuery": {"version": 1, "sha256Hash": "abc"}}"#;
        assert_eq!(read("extensions", hash).as_ref().map(Envelope::document_id), Ok(Some("abc")));
        assert_eq!(read("documentId", "abc").as_ref().map(Envelope::document_id), Ok(Some("abc")));
        assert_eq!(read("extensions", "").as_ref().map(Envelope::document_id), Ok(None));
        for name in ["variables", "extensions"] {
            assert_eq!(read(name, "7").err(), Some(FaultCode::BadUserInput), "{name}");
        }
    }

    #[test]
    fn what_is_no_envelope_is_refused_without_repeating_it() {
        for body in [
            "",
            "null",
            "7",
            "\"{ a }\"",
            "{",
            r#"{"query": 7}"#,
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
    }

    #[test]
    fn a_batch_has_as_many_operations_as_are_allowed() {
        let batch = |n: usize| format!("[{}]", vec![r#"{"query": "{ a }"}"#; n].join(","));
        assert_eq!(code(&batch(3)), None);
        for n in [0, 4, 1_000] {
            assert_eq!(code(&batch(n)), Some(FaultCode::BatchLimitExceeded), "{n}");
        }
        assert!(Envelope::batch(batch(1).as_bytes(), 1).is_err(), "where there are no batches");
        assert_eq!(code(r#"[{"query": "{ a }"}, 7]"#), Some(FaultCode::BadUserInput));
    }

    #[test]
    fn nesting_beyond_reason_is_refused() {
        let deep =
            format!("{{\"query\": \"{{a}}\", \"variables\": {{\"a\": {}{}}}}}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(code(&deep), Some(FaultCode::BadUserInput));
    }
}
