//! Top-level errors: what went wrong with the request itself, or inside the bank, as opposed to a refusal by a rule.
//!
//! Every top-level error carries `extensions.code` from the closed list [`FaultCode`] and `extensions.retryable`. An
//! error that reaches the door without one of these codes is a programming fault: it is logged once with the
//! correlation id and shown as `INTERNAL_SERVER_ERROR`, so a stray `?` can never leak internal text to a client.

use std::fmt;

use async_graphql::{Error, ErrorExtensionValues, InputType, InputValueError};

/// The closed list of `extensions.code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// The document is not GraphQL.
    GraphqlParseFailed,
    /// The document does not fit the schema, or repeats a command under conditions.
    GraphqlValidationFailed,
    /// A variable, argument, id or cursor has a value its type does not allow, or the request envelope is malformed.
    BadUserInput,
    /// The operation is well formed but not allowed here: a mutation over GET, a subscription without a stream or in a
    /// batch, files without the header they need or for what takes none, a document nobody registered where only registered
    /// ones are taken.
    OperationNotAllowed,
    /// A persisted document was named that nobody registered.
    PersistedDocumentNotFound,
    /// Introspection is switched off.
    IntrospectionDisabled,
    /// No token, or one that is expired, revoked, forged or meant for something else.
    Unauthenticated,
    /// The caller is known and lacks the role.
    Forbidden,
    /// Fields are nested too deep.
    DepthLimitExceeded,
    /// Too many tokens, fields, root fields, aliases or directives.
    ComplexityLimitExceeded,
    /// The operation may cost more points than one operation is allowed to.
    CostLimitExceeded,
    /// More operations in one request than allowed.
    BatchLimitExceeded,
    /// The caller's budget of points is spent, or there are too many connections, or operations on one.
    RateLimited,
    /// The read model has not caught up with the version asked for.
    StaleRead,
    /// The deadline of planning or carrying out the operation has passed. Nothing is known about the outcome of a
    /// mutation: repeat it with the same idempotency key.
    Timeout,
    /// A module that has to answer is stopped or cannot reach its database.
    ModuleUnavailable,
    /// The bank has accepted more than it can pass on just now, and takes no commands until that is less. Nothing of the
    /// operation was begun.
    Overloaded,
    /// The request body, the document or a file is larger than allowed, or there are too many files.
    PayloadTooLarge,
    /// A fault of the bank.
    InternalServerError,
}

impl FaultCode {
    /// Every code, for tests and documentation.
    pub const ALL: [Self; 19] = [
        Self::GraphqlParseFailed,
        Self::GraphqlValidationFailed,
        Self::BadUserInput,
        Self::OperationNotAllowed,
        Self::PersistedDocumentNotFound,
        Self::IntrospectionDisabled,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::DepthLimitExceeded,
        Self::ComplexityLimitExceeded,
        Self::CostLimitExceeded,
        Self::BatchLimitExceeded,
        Self::RateLimited,
        Self::StaleRead,
        Self::Timeout,
        Self::ModuleUnavailable,
        Self::Overloaded,
        Self::PayloadTooLarge,
        Self::InternalServerError,
    ];

    /// The name clients see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GraphqlParseFailed => "GRAPHQL_PARSE_FAILED",
            Self::GraphqlValidationFailed => "GRAPHQL_VALIDATION_FAILED",
            Self::BadUserInput => "BAD_USER_INPUT",
            Self::OperationNotAllowed => "OPERATION_NOT_ALLOWED",
            Self::PersistedDocumentNotFound => "PERSISTED_DOCUMENT_NOT_FOUND",
            Self::IntrospectionDisabled => "INTROSPECTION_DISABLED",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::DepthLimitExceeded => "DEPTH_LIMIT_EXCEEDED",
            Self::ComplexityLimitExceeded => "COMPLEXITY_LIMIT_EXCEEDED",
            Self::CostLimitExceeded => "COST_LIMIT_EXCEEDED",
            Self::BatchLimitExceeded => "BATCH_LIMIT_EXCEEDED",
            Self::RateLimited => "RATE_LIMITED",
            Self::StaleRead => "STALE_READ",
            Self::Timeout => "TIMEOUT",
            Self::ModuleUnavailable => "MODULE_UNAVAILABLE",
            Self::Overloaded => "OVERLOADED",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::InternalServerError => "INTERNAL_SERVER_ERROR",
        }
    }

    /// Whether the same request may succeed a little later without anybody changing it.
    pub const fn retryable(self) -> bool {
        matches!(self, Self::RateLimited | Self::StaleRead | Self::Timeout | Self::ModuleUnavailable | Self::Overloaded)
    }

    /// The code of that name, if the list has it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A top-level error with this code. `message` is shown to the client: one plain sentence, no internal text.
pub fn fault(code: FaultCode, message: impl Into<String>) -> Error {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", code.as_str());
    extensions.set("retryable", code.retryable());
    Error { message: message.into(), source: None, extensions: Some(extensions) }
}

/// The caller sent something its type or the rules of the request do not allow.
pub fn bad_user_input(message: impl Into<String>) -> Error {
    fault(FaultCode::BadUserInput, message)
}

/// The field needs somebody who is logged in.
pub fn unauthenticated() -> Error {
    fault(FaultCode::Unauthenticated, "Log in first: this needs a valid access token.")
}

/// The caller is known and may not do this.
pub fn forbidden() -> Error {
    fault(FaultCode::Forbidden, "Your roles do not allow this.")
}

/// A module cannot answer now; repeating later may help.
pub fn module_unavailable() -> Error {
    fault(FaultCode::ModuleUnavailable, "This part of the bank is not available at the moment; try again.")
}

/// A fault of the bank. `cause` goes to the log with the request's correlation id and never to the client.
///
/// The alternate form of `Display` is logged, which for `anyhow` errors is the whole chain.
pub fn internal(cause: impl fmt::Display) -> Error {
    Error { message: format!("{cause:#}"), source: None, extensions: None }
}

/// What a scalar's `parse` returns for a value it does not take: `BAD_USER_INPUT` with the reason.
pub fn invalid_value<T: InputType>(reason: impl fmt::Display) -> InputValueError<T> {
    InputValueError::custom(reason)
        .with_extension("code", FaultCode::BadUserInput.as_str())
        .with_extension("retryable", false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_own_name() {
        for code in FaultCode::ALL {
            assert_eq!(FaultCode::named(code.as_str()), Some(code));
        }
        assert_eq!(FaultCode::named("SOMETHING_ELSE"), None);
    }

    #[test]
    fn a_fault_says_whether_to_repeat_it() {
        let error = fault(FaultCode::ModuleUnavailable, "later");
        let extensions = error.extensions.expect("a fault has extensions");
        assert_eq!(extensions.get("code"), Some(&"MODULE_UNAVAILABLE".into()));
        assert_eq!(extensions.get("retryable"), Some(&true.into()));
    }

    #[test]
    fn an_internal_fault_carries_no_code_so_that_the_door_hides_its_text() {
        assert!(internal("connection refused").extensions.is_none());
    }
}
