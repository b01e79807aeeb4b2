//! Requests with files, by the GraphQL multipart request specification: the part `operations`, the part `map`, and then
//! the files.
//!
//! Nothing is read before it is known how much of it is allowed: the operation says what mutation it is, that one's
//! declaration how many files come with it and how large they may be.

use std::collections::HashMap;
use std::fmt;

use async_graphql::{Value, Variables};
use axum::body::Body;
use axum::http::{HeaderMap, header};
use multer::{Constraints, Field, Multipart, SizeLimit};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use uuid::Uuid;

use crate::faults::FaultCode;
use crate::stitch::RequestError;
use crate::upload::{Files, UploadLimit, UploadedFile};

/// Headers that a browser asks the bank about before it sends them from another site.
const PREFLIGHT: [&str; 2] = ["x-graphql-csrf", "apollo-require-preflight"];

/// What stands around parts: boundaries and headers.
const AROUND: usize = 64 * 1024;

fn malformed(message: &str) -> RequestError {
    RequestError::new(FaultCode::BadUserInput, message)
}

fn too_large(message: impl Into<String>) -> RequestError {
    RequestError::new(FaultCode::PayloadTooLarge, message)
}

fn unreadable(error: &multer::Error) -> RequestError {
    match error {
        multer::Error::StreamSizeExceeded { .. } => {
            too_large("The request body is larger than any request with files.")
        }
        _ => malformed("The request body is no `multipart/form-data`, or was cut off."),
    }
}

/// A request with files, as far as it was read.
pub struct Form {
    parts: Multipart<'static>,
    /// Bytes of `operations` and of `map`.
    text_limit: usize,
}

/// What comes before the files.
pub struct Head {
    pub operations: Vec<u8>,
    pub map: FileMap,
}

/// By the name of each file's part, where in the operation it belongs.
#[derive(Debug)]
pub struct FileMap(HashMap<String, Vec<String>>);

/// By the name of each file's part, the name that stands for it in the variables.
pub struct Awaited(HashMap<String, String>);

impl Form {
    /// Whether files come with a request.
    pub fn is_sent(headers: &HeaderMap) -> bool {
        let media = content_type(headers).split(';').next().unwrap_or_default().trim();
        media.eq_ignore_ascii_case("multipart/form-data")
    }

    /// Begins to read a request. `most` is how many bytes come with any mutation.
    ///
    /// Any site can have a browser send a form in a visitor's name without asking; not so with a header of ours.
    ///
    /// # Errors
    /// `OPERATION_NOT_ALLOWED` without such a header, `BAD_USER_INPUT` without a boundary.
    pub fn open(headers: &HeaderMap, body: Body, text_limit: usize, most: usize) -> Result<Self, RequestError> {
        if !PREFLIGHT.iter().any(|name| headers.get(*name).is_some_and(|value| !value.is_empty())) {
            let message = "A request with files needs the header `x-graphql-csrf` or `apollo-require-preflight`.";
            return Err(RequestError::new(FaultCode::OperationNotAllowed, message));
        }
        let boundary = multer::parse_boundary(content_type(headers))
            .map_err(|_| malformed("The content type `multipart/form-data` needs a `boundary`."))?;
        // The reader takes what has arrived, whether it was asked for that part or not: this bounds its memory.
        let whole = u64::try_from(text_limit * 2 + most + AROUND).unwrap_or(u64::MAX);
        let constraints = Constraints::new().size_limit(SizeLimit::new().whole_stream(whole));
        Ok(Self { parts: Multipart::with_constraints(body.into_data_stream(), boundary, constraints), text_limit })
    }

    /// Reads `operations` and `map`, which come first.
    ///
    /// # Errors
    /// `BAD_USER_INPUT` when they do not, or `map` is none; `PAYLOAD_TOO_LARGE`.
    pub async fn head(&mut self) -> Result<Head, RequestError> {
        let operations = self.text("operations").await?;
        let map = serde_json::from_slice(&self.text("map").await?).map_err(|_| {
            malformed("`map` must be a JSON object that has, once for each file, a list of places in `operations`.")
        })?;
        Ok(Head { operations, map })
    }

    async fn text(&mut self, name: &str) -> Result<Vec<u8>, RequestError> {
        let part = self.next().await?.filter(|part| part.name() == Some(name));
        let Some(part) = part else {
            return Err(malformed("The parts of a request with files are `operations`, `map`, and then the files."));
        };
        let limit = self.text_limit;
        read(part, limit).await?.ok_or_else(|| too_large(format!("`{name}` has at most {limit} bytes.")))
    }

    async fn next(&mut self) -> Result<Option<Field<'static>>, RequestError> {
        self.parts.next_field().await.map_err(|error| unreadable(&error))
    }

    /// Reads the files, of so many bytes each at most.
    ///
    /// # Errors
    /// `PAYLOAD_TOO_LARGE`; `BAD_USER_INPUT` for files that are not awaited, come twice or not at all.
    pub async fn files(&mut self, awaited: Awaited, bytes: usize) -> Result<Files, RequestError> {
        let Awaited(mut awaited) = awaited;
        let mut files = Files::new();
        while let Some(part) = self.next().await? {
            let Some(token) = part.name().and_then(|name| awaited.remove(name)) else {
                return Err(malformed("There is a part that `map` does not name, or that comes a second time."));
            };
            let name = part.file_name().unwrap_or_default().to_owned();
            let media_type = part.content_type().map(ToString::to_string);
            let content = read(part, bytes).await?;
            let content =
                content.ok_or_else(|| too_large(format!("A file of this operation has at most {bytes} bytes.")))?;
            files.insert(token, UploadedFile { name, media_type, content });
        }
        if awaited.is_empty() { Ok(files) } else { Err(malformed("There is no part for a file that `map` names.")) }
    }
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The content of a part; `None` when it has more bytes than the limit, the rest of which is not waited for.
async fn read(mut part: Field<'static>, limit: usize) -> Result<Option<Vec<u8>>, RequestError> {
    let mut content = Vec::new();
    while let Some(chunk) = part.chunk().await.map_err(|error| unreadable(&error))? {
        if content.len() + chunk.len() > limit {
            return Ok(None);
        }
        content.extend_from_slice(&chunk);
    }
    Ok(Some(content))
}

impl FileMap {
    /// Puts a name of the door's own making in each place, which must be `null` and one of a file.
    ///
    /// # Errors
    /// `PAYLOAD_TOO_LARGE` for more files than come with the operation, `BAD_USER_INPUT` for a place that is none.
    pub fn put(
        self,
        limit: UploadLimit,
        is_upload: impl Fn(&str, &[&str]) -> bool,
        variables: &mut Variables,
    ) -> Result<Awaited, RequestError> {
        let Self(files) = self;
        if files.len() > limit.files {
            return Err(too_large(format!("This operation takes at most {} files.", limit.files)));
        }
        let mut awaited = HashMap::new();
        for (part, places) in files {
            let token = Uuid::now_v7().to_string();
            for place in places {
                let free = free_place(&place, &is_upload, variables).ok_or_else(|| {
                    malformed(
                        "`map` names a place that is not a `null` of type `Upload` in the variables of `operations`.",
                    )
                })?;
                *free = Value::String(token.clone());
            }
            awaited.insert(part, token);
        }
        Ok(Awaited(awaited))
    }
}

fn free_place<'a>(
    place: &str,
    is_upload: impl Fn(&str, &[&str]) -> bool,
    variables: &'a mut Variables,
) -> Option<&'a mut Value> {
    let steps: Vec<_> = place.split('.').collect();
    let ["variables", variable, inside @ ..] = &steps[..] else { return None };
    let mut value = variables.get_mut(*variable)?;
    for step in inside {
        value = match value {
            Value::Object(fields) => fields.get_mut(*step)?,
            Value::List(items) => items.get_mut(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    (*value == Value::Null && is_upload(variable, inside)).then_some(value)
}

impl<'de> Deserialize<'de> for FileMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EachOnce)
    }
}

/// Reads what a map of the standard library would: but there the second of two files with one name replaces the first.
struct EachOnce;

impl<'de> Visitor<'de> for EachOnce {
    type Value = FileMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("places by file")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<FileMap, A::Error> {
        let mut files = HashMap::new();
        while let Some((part, places)) = entries.next_entry::<String, Vec<String>>()? {
            if places.is_empty() || files.insert(part, places).is_some() {
                return Err(A::Error::custom("a file comes once and has a place"));
            }
        }
        Ok(FileMap(files))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Bytes;
    use futures::StreamExt as _;

    use super::*;

    const LIMIT: UploadLimit = UploadLimit { files: 2, bytes: 10 };
    const MAP: (&str, &str) = ("map", r#"{"0": ["variables.input.file"]}"#);
    const ONE: (&str, &str) = ("operations", r#"{"query": "m", "variables": {"input": {"file": null, "note": null}}}"#);
    const FILE: (&str, &str) = ("0", "content");

    fn headers(named: &[(&'static str, &str)]) -> HeaderMap {
        named.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    fn open(body: impl Into<Body>, most: usize) -> Form {
        let headers = headers(&[("content-type", "multipart/form-data; boundary=x"), ("x-graphql-csrf", "1")]);
        Form::open(&headers, body.into(), 200, most).expect("a request with files")
    }

    fn body(parts: &[(&str, &str)]) -> String {
        let mut body = String::new();
        for (name, content) in parts {
            let file = if matches!(*name, "operations" | "map") { "" } else { "; filename=\"a.txt\"" };
            body += &format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n{content}\r\n");
        }
        body + "--x--\r\n"
    }

    async fn taken(parts: &[(&str, &str)]) -> Result<(Variables, Files), RequestError> {
        let mut form = open(body(parts), LIMIT.bytes_in_all());
        let Head { operations, map } = form.head().await?;
        let operations: serde_json::Value = serde_json::from_slice(&operations).expect("JSON");
        let mut variables = Variables::from_json(operations["variables"].clone());
        let awaited = map.put(LIMIT, |_, inside| inside.last() != Some(&"note"), &mut variables)?;
        let files = form.files(awaited, LIMIT.bytes).await?;
        Ok((variables, files))
    }

    async fn refused(parts: &[(&str, &str)]) -> FaultCode {
        taken(parts).await.err().unwrap_or_else(|| panic!("{parts:?} is taken")).code
    }

    #[tokio::test]
    async fn a_file_is_found_under_the_name_in_its_place() {
        let (variables, files) = taken(&[ONE, MAP, FILE]).await.expect("a request as it should be");
        let Value::Object(input) = &variables["input"] else { panic!("an object") };
        let Value::String(name) = &input["file"] else { panic!("a name") };
        assert_eq!((files[name].name.as_str(), &files[name].content[..]), ("a.txt", &b"content"[..]));
    }

    #[tokio::test]
    async fn a_file_may_stand_in_several_places_and_in_lists() {
        let operations = ("operations", r#"{"query": "m", "variables": {"a": [null, null], "b": null}}"#);
        let map = ("map", r#"{"0": ["variables.a.1", "variables.b"], "1": ["variables.a.0"]}"#);
        let (variables, files) = taken(&[operations, map, ("1", "one"), ("0", "zero")]).await.expect("taken");
        let Value::List(items) = &variables["a"] else { panic!("a list") };
        assert_eq!((items[1] == variables["b"], items[0] == items[1], files.len()), (true, false, 2));
    }

    #[tokio::test]
    async fn what_does_not_keep_to_the_specification_is_refused() {
        let map = |text: &'static str| ("map", text);
        let cases: [&[(&str, &str)]; 18] = [
            &[],
            &[ONE],
            &[ONE, FILE],
            &[MAP, ONE, FILE],
            &[ONE, MAP],
            &[ONE, MAP, FILE, FILE],
            &[ONE, MAP, FILE, ("1", "not named")],
            &[ONE, map("[]"), FILE],
            &[ONE, map("{"), FILE],
            &[ONE, map(r#"{"0": []}"#), FILE],
            &[ONE, map(r#"{"0": "variables.input.file"}"#), FILE],
            &[ONE, map(r#"{"0": ["variables.input.other"]}"#), FILE],
            &[ONE, map(r#"{"0": ["variables.input.file.name"]}"#), FILE],
            &[ONE, map(r#"{"0": ["variables.input.note"]}"#), FILE],
            &[ONE, map(r#"{"0": ["variables"]}"#), FILE],
            &[ONE, map(r#"{"0": ["query"]}"#), FILE],
            &[ONE, map(r#"{"0": ["variables.input.file", "variables.input.file"]}"#), FILE],
            &[ONE, map(r#"{"0": ["variables.input.file"], "0": ["variables.input.file"]}"#), FILE],
        ];
        for parts in cases {
            assert_eq!(refused(parts).await, FaultCode::BadUserInput, "{parts:?}");
        }
        let taken_place = ("operations", r#"{"query": "m", "variables": {"input": {"file": "there"}}}"#);
        assert_eq!(refused(&[taken_place, MAP, FILE]).await, FaultCode::BadUserInput);
    }

    #[tokio::test]
    async fn more_than_is_allowed_is_refused() {
        let long = "x".repeat(201);
        assert_eq!(refused(&[("operations", &long), MAP, FILE]).await, FaultCode::PayloadTooLarge);
        assert_eq!(refused(&[ONE, ("map", &long), FILE]).await, FaultCode::PayloadTooLarge);
        assert_eq!(refused(&[ONE, MAP, ("0", "12345678901")]).await, FaultCode::PayloadTooLarge);
        let three = ("map", r#"{"0": ["variables.a"], "1": ["variables.b"], "2": ["variables.c"]}"#);
        assert_eq!(refused(&[ONE, three, FILE]).await, FaultCode::PayloadTooLarge);
        assert!(taken(&[ONE, MAP, ("0", "1234567890")]).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_without_end_is_read_up_to_the_limit() {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&read);
        let begins = "--x\r\ncontent-disposition: form-data; name=\"0\"\r\n\r\n";
        let begin = futures::stream::iter([Bytes::from(body(&[ONE, MAP]).replace("--x--\r\n", begins))]);
        let more = futures::stream::repeat(Bytes::from_static(&[b'a'; 1024]));
        let bytes = begin.chain(more).map(move |chunk| {
            counted.fetch_add(chunk.len(), Ordering::Relaxed);
            Ok::<_, std::io::Error>(chunk)
        });
        let mut form = open(Body::from_stream(bytes), LIMIT.bytes_in_all());
        let error = match form.head().await {
            Ok(_) => form.next().await.expect_err("more than any request has"),
            Err(error) => error,
        };
        assert_eq!(error.code, FaultCode::PayloadTooLarge);
        assert!(read.load(Ordering::Relaxed) <= 400 + LIMIT.bytes_in_all() + AROUND + 1024);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_file() {
        let whole = body(&[ONE, MAP, FILE]);
        let mut form = open(whole[..whole.len() - 10].to_owned(), LIMIT.bytes_in_all());
        let head = form.head().await.expect("operations and map came");
        let mut variables = Variables::from_json(serde_json::json!({"input": {"file": null}}));
        let awaited = head.map.put(LIMIT, |_, _| true, &mut variables).expect("a place");
        let error = form.files(awaited, LIMIT.bytes).await.expect_err("it broke off");
        assert_eq!(error.code, FaultCode::BadUserInput);
    }

    #[test]
    fn only_what_a_browser_asks_about_is_taken() {
        let form = ("content-type", "Multipart/Form-Data; boundary=x");
        let code = |named: &[(&'static str, &str)]| {
            Form::open(&headers(named), Body::empty(), 1, 1).err().map(|error| error.code)
        };
        assert_eq!(code(&[form, ("x-graphql-csrf", "1")]), None);
        assert_eq!(code(&[form, ("apollo-require-preflight", "true")]), None);
        assert_eq!(code(&[form]), Some(FaultCode::OperationNotAllowed));
        assert_eq!(code(&[form, ("x-graphql-csrf", "")]), Some(FaultCode::OperationNotAllowed));
        let without_boundary = [("content-type", "multipart/form-data"), ("x-graphql-csrf", "1")];
        assert_eq!(code(&without_boundary), Some(FaultCode::BadUserInput));
        assert!(Form::is_sent(&headers(&[form])));
        assert!(!Form::is_sent(&headers(&[("content-type", "application/json")])) && !Form::is_sent(&HeaderMap::new()));
    }
}
