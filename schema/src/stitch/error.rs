//! Errors as the engine passes them around, before they are written for a client.

use std::time::Duration;

use async_graphql::{PathSegment, ServerError};
use serde::Serialize;

use crate::faults::FaultCode;

/// A position in the client's document, both counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Location {
    pub line: usize,
    pub column: usize,
}

/// An error that kept a request from being executed at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct RequestError {
    pub code: FaultCode,
    /// One plain sentence for the client.
    pub message: String,
    pub locations: Vec<Location>,
    /// After which time it is worth trying again.
    pub retry_after: Option<Duration>,
}

impl RequestError {
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), locations: Vec::new(), retry_after: None }
    }

    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    pub fn at(mut self, line: usize, column: usize) -> Self {
        self.locations.push(Location { line, column });
        self
    }
}

/// An error of a field, as a module reported it.
#[derive(Debug, Clone)]
pub struct FieldError {
    /// The module that failed, by its subgraph name.
    pub module: Option<Box<str>>,
    /// Where in the client's response.
    pub path: Vec<PathSegment>,
    pub error: ServerError,
}

impl FieldError {
    /// A module answered `null` where the schema does not allow it, and gave no reason.
    pub fn unexplained() -> Self {
        let error = ServerError::new("a field that cannot be null has no value", None);
        Self { module: None, path: Vec::new(), error }
    }
}
