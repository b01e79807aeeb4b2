//! The GraphiQL page and its files, from inside the binary.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use serde_json::Value;

use super::Door;
use crate::reference;
use crate::stitch::Engine;

const PAGE: &str = include_str!("../../graphiql/index.html");

/// Scripts and styles of the page's own origin only. GraphiQL's editor sets styles on elements and keeps its fonts in
/// its style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Asset {
    name: &'static str,
    content: &'static [u8],
    gzip: bool,
}

macro_rules! vendored {
    ($name:literal) => {
        Asset { name: $name, content: include_bytes!(concat!("../../graphiql/dist/", $name, ".gz")), gzip: true }
    };
}

macro_rules! own {
    ($name:literal) => {
        Asset { name: $name, content: include_bytes!(concat!("../../graphiql/", $name)), gzip: false }
    };
}

static ASSETS: [Asset; 9] = [
    own!("page.css"),
    own!("page.js"),
    vendored!("explorer.css"),
    vendored!("explorer.js"),
    vendored!("graphiql.css"),
    vendored!("graphiql.js"),
    vendored!("graphql-ws.js"),
    vendored!("react-dom.js"),
    vendored!("react.js"),
];

fn respond(content: &'static [u8], content_type: &'static str) -> Response {
    let mut response = Response::new(Body::from(content));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// `GET /graphiql`.
pub async fn page() -> Response {
    respond(PAGE.as_bytes(), "text/html; charset=utf-8")
}

/// Operations the start panel offers. Each is carried out in a test.
pub const EXAMPLES: &str = include_str!("../../graphiql/examples.json");

/// The same with who may carry each out: `anybody`, `logged in`, or roles, any of which will do. It follows from the fields
/// they ask for, so that it is never wrong.
pub fn examples(engine: &Engine) -> Vec<Value> {
    let mut examples: Vec<Value> = serde_json::from_str(EXAMPLES).unwrap_or_default();
    for example in &mut examples {
        let prepared = example["document"].as_str().and_then(|document| engine.prepare(document, None).ok());
        let access = prepared.and_then(|prepared| {
            let schema = engine.planner().api_schema();
            reference::access_to_all(schema, prepared.kind(), &prepared.planned.root_fields)
        });
        example["access"] = access.into();
    }
    examples
}

/// `GET /graphiql/modules.json`: which module answers which field, who may ask for it, what it costs; and the examples.
pub async fn modules(State(door): State<Arc<Door>>) -> Response {
    let schema = door.engine.planner().api_schema();
    let (fields, types) = (reference::root_fields(schema), reference::types(schema));
    let examples = examples(&door.engine);
    let content = serde_json::json!({"fields": fields, "types": types, "examples": examples});
    let mut response = Response::new(Body::from(content.to_string()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// `GET /graphiql/{file}`.
pub async fn asset(Path(file): Path<String>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == file) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let css = asset.name.ends_with(".css");
    let content_type = if css { "text/css; charset=utf-8" } else { "text/javascript; charset=utf-8" };
    let mut response = respond(asset.content, content_type);
    if asset.gzip {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_for_files_that_are_there_and_for_nothing_from_elsewhere() {
        let mentioned: Vec<_> = PAGE.split('"').filter_map(|part| part.strip_prefix("graphiql/")).collect();
        assert_eq!(mentioned.len(), ASSETS.len());
        for file in mentioned {
            assert!(ASSETS.iter().any(|asset| asset.name == file), "{file}");
        }
        assert!(!PAGE.contains("//"), "no address of another host");
    }
}
