//! The page of all error codes, for `docs/errors.md`.

use std::fmt::Write as _;

use graphql_tools::static_graphql::schema::{Definition, TypeDefinition};

use crate::door::status_of;
use crate::faults::FaultCode;

impl FaultCode {
    /// What leads to it.
    pub const fn cause(self) -> &'static str {
        match self {
            Self::GraphqlParseFailed => "The document is not GraphQL.",
            Self::GraphqlValidationFailed => {
                "The document does not fit the schema, or repeats a command under conditions."
            }
            Self::BadUserInput => {
                "A variable, argument, id, cursor or the request around the document has a value its type does not allow."
            }
            Self::OperationNotAllowed => {
                "The operation is fine, and not allowed here: a mutation over GET, a subscription without a stream, files \
                 without their header or for what takes none, a document that is not registered."
            }
            Self::PersistedDocumentNotFound => "Nobody registered a document with this id.",
            Self::IntrospectionDisabled => "The bank does not tell its schema here.",
            Self::Unauthenticated => {
                "There is no access token, or it is expired, revoked, forged or meant for something else."
            }
            Self::Forbidden => {
                "You are logged in and lack the role the field needs. The field is `null`, its siblings stay."
            }
            Self::DepthLimitExceeded => "Fields are nested too deep.",
            Self::ComplexityLimitExceeded => "There are too many tokens, fields, root fields, aliases or directives.",
            Self::CostLimitExceeded => "The operation may cost more points than one operation is allowed to.",
            Self::BatchLimitExceeded => "There are more operations in the request than allowed.",
            Self::RateLimited => {
                "Your budget of points is spent, a connection carries too many operations, or you have too many connections."
            }
            Self::StaleRead => "The read model has not reached the version you asked for.",
            Self::Timeout => {
                "The answer was not ready in time, and nothing is known about the outcome of a mutation; with the status 408, \
                 the request did not arrive in time, and nothing was done."
            }
            Self::ModuleUnavailable => "A module that has to answer is stopped or cannot reach its database.",
            Self::Overloaded => {
                "The bank has accepted more than it can pass on just now. Nothing of the operation was begun; queries go on."
            }
            Self::PayloadTooLarge => {
                "The request body, the document or a file is larger than allowed, or there are too many files."
            }
            Self::InternalServerError => "A fault of the bank. Its text stays in the bank's log.",
        }
    }

    /// What to do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::GraphqlParseFailed | Self::GraphqlValidationFailed => {
                "Correct what the message names; `locations`, where it is there, says where. Generating clients from the schema avoids it."
            }
            Self::BadUserInput => "Correct the value the message names.",
            Self::OperationNotAllowed => {
                "Send mutations with POST, files with `x-graphql-csrf`, subscribe over WebSocket or SSE, send `documentId`."
            }
            Self::PersistedDocumentNotFound => "Register the client's manifest before releasing the client.",
            Self::IntrospectionDisabled => "Use the committed schema, or a bank that is not in production.",
            Self::Unauthenticated => "Refresh the token with `tokenRefresh`, or log in.",
            Self::Forbidden => "Do not ask for the field, or have an administrator assign the role.",
            Self::DepthLimitExceeded | Self::ComplexityLimitExceeded => "Ask in several operations.",
            Self::CostLimitExceeded => "Ask for smaller pages or for less of each object.",
            Self::BatchLimitExceeded => "Send the operations in several requests.",
            Self::RateLimited => {
                "Wait `retryAfterMs`, which is also in the header `Retry-After`. `extensions.cost` shows what is left."
            }
            Self::Overloaded => {
                "Repeat it after `retryAfterMs`, which is also in the header `Retry-After`, under the same idempotency key."
            }
            Self::StaleRead => "Ask again a moment later.",
            Self::Timeout => "Repeat it; a mutation under the same idempotency key, which makes that safe.",
            Self::ModuleUnavailable => "Repeat it with growing pauses; a mutation under the same idempotency key.",
            Self::PayloadTooLarge => "Send less.",
            Self::InternalServerError => "Report the `traceId`.",
        }
    }
}

/// The page as Markdown: faults from [`FaultCode`], refusals from the enums of the schema.
///
/// # Panics
/// When the supergraph is no schema, or a refusal's description has not two paragraphs, which are its cause and its remedy.
/// It is committed and tested.
pub fn page(supergraph: &str) -> String {
    let mut page = String::from(
        "# Errors\n\nGenerated from the code; a test compares it.\n\n\
         A *fault* is an entry of the top-level `errors`: the request, its sender or the bank is not as it should be. A *refusal* is \
         data, in `userErrors` of a mutation's payload: the rules of the bank say no.\n\n## Faults\n\n\
         `extensions.code` is one of these. `retryable` tells whether the same request may succeed later, `traceId` names the \
         request in the bank's logs, `module` the module that failed. *Status* is the HTTP status of a request that was not \
         executed, with `Accept: application/graphql-response+json`; with `application/json` it is 200 for what GraphQL itself refuses.\n\n\
         | code | status | retry | cause | what to do |\n|---|---|---|---|---|\n",
    );
    for code in FaultCode::ALL {
        let retry = if code.retryable() { "yes" } else { "no" };
        let status = status_of(code).as_u16();
        let _ = writeln!(page, "| `{code}` | {status} | {retry} | {} | {} |", code.cause(), code.remedy());
    }
    page.push_str("\n## Refusals\n\nRepeating the same command leads to the same refusal until its reason is gone.\n");
    let document = graphql_tools::parser::parse_schema::<String>(supergraph);
    let document = document.unwrap_or_else(|error| panic!("the supergraph is no schema: {error}")).into_static();
    for definition in &document.definitions {
        let Definition::TypeDefinition(TypeDefinition::Enum(codes)) = definition else { continue };
        let Some(module) = codes.name.strip_suffix("ErrorCode") else { continue };
        let _ = write!(page, "\n### {module}\n\n| code | cause | what to do |\n|---|---|---|\n");
        for value in &codes.values {
            let told = value.description.as_deref().unwrap_or_default();
            let (cause, remedy) = told.split_once("\n\n").unwrap_or_else(|| panic!("{}: no remedy", value.name));
            let _ = writeln!(page, "| `{}` | {} | {} |", value.name, in_a_line(cause), in_a_line(remedy));
        }
    }
    page
}

fn in_a_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
