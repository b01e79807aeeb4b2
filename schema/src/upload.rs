//! Files that come with a mutation, by the GraphQL multipart request specification.
//!
//! The door reads them within what the mutation's declaration allows ([`crate::access::Rule::upload()`]) and puts a
//! name of its own making in the place of each variable; whoever carries the mutation out finds the file under that
//! name in the request's scope. A name that a client makes up finds nothing, so a file can only come as one.

use std::collections::HashMap;

use async_graphql::{Context, InputValueResult, Result, Scalar, ScalarType, Value, Variables};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::faults::{bad_user_input, invalid_value};
use crate::guards;

/// How many files a mutation takes, and how large they may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimit {
    /// Files in one request; 0 for a mutation without files.
    pub files: usize,
    /// Bytes of each.
    pub bytes: usize,
}

impl UploadLimit {
    /// What a mutation takes that takes none.
    pub const NONE: Self = Self { files: 0, bytes: 0 };

    const TAG: &'static str = "upload-";

    /// Bytes of all files together.
    pub const fn bytes_in_all(self) -> usize {
        self.files * self.bytes
    }

    /// The tag that carries it through the supergraph: `upload-1-1048576`.
    pub(crate) fn tag(self) -> String {
        format!("{}{}-{}", Self::TAG, self.files, self.bytes)
    }

    pub(crate) fn of_tag(name: &str) -> Option<Self> {
        let (files, bytes) = name.strip_prefix(Self::TAG)?.split_once('-')?;
        Some(Self { files: files.parse().ok()?, bytes: bytes.parse().ok()? })
    }
}

/// A file as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadedFile {
    /// As the client calls it; empty when it says nothing.
    pub name: String,
    /// What the client says it is.
    pub media_type: Option<String>,
    #[serde(serialize_with = "as_base64", deserialize_with = "from_base64")]
    pub content: Vec<u8>,
}

/// The files of a request under the names the door gave them.
pub type Files = HashMap<String, UploadedFile>;

/// Those of the files that belong to a call: whose names stand in its variables.
pub fn named_in<'a>(files: &'a Files, variables: &Variables) -> HashMap<&'a str, &'a UploadedFile> {
    fn find<'a>(files: &'a Files, value: &Value, found: &mut HashMap<&'a str, &'a UploadedFile>) {
        match value {
            Value::String(text) => found.extend(files.get_key_value(text).map(|(name, file)| (name.as_str(), file))),
            Value::List(items) => items.iter().for_each(|item| find(files, item, found)),
            Value::Object(fields) => fields.values().for_each(|field| find(files, field, found)),
            _ => {}
        }
    }
    let mut found = HashMap::new();
    if !files.is_empty() {
        variables.values().for_each(|value| find(files, value, &mut found));
    }
    found
}

fn as_base64<S: Serializer>(content: &[u8], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(content))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<u8>, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    STANDARD.decode(text.as_bytes()).map_err(serde::de::Error::custom)
}

/// A file that comes with the request: a variable that is `null` in `operations` and named in `map`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload(String);

#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a file comes by the GraphQL multipart request specification, as a part of its own")]
struct NotAFile;

/// A file, sent by the GraphQL multipart request specification: `null` in `operations`, named in `map`, with the header
/// `x-graphql-csrf` or `apollo-require-preflight`.
#[Scalar(specified_by_url = "https://github.com/jaydenseric/graphql-multipart-request-spec")]
impl ScalarType for Upload {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(name) = value else { return Err(invalid_value(NotAFile)) };
        Ok(Self(name))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

impl Upload {
    /// The file.
    ///
    /// # Errors
    /// `BAD_USER_INPUT` when it did not come with the request.
    pub fn file<'a>(&self, ctx: &Context<'a>) -> Result<&'a UploadedFile> {
        let file = guards::scope(ctx)?.files().get(&self.0);
        file.ok_or_else(|| bad_user_input(format!("No file: {NotAFile}.")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_travels_as_a_tag() {
        let limit = UploadLimit { files: 2, bytes: 1_048_576 };
        assert_eq!(limit.tag(), "upload-2-1048576");
        assert_eq!(UploadLimit::of_tag(&limit.tag()), Some(limit));
        for other in ["customer", "upload-", "upload-1", "upload-x-1"] {
            assert_eq!(UploadLimit::of_tag(other), None, "{other}");
        }
        assert_eq!(limit.bytes_in_all(), 2_097_152);
    }

    #[test]
    fn a_call_is_given_the_files_in_its_variables_and_no_others() {
        let file = |name: &str| UploadedFile { name: name.to_owned(), media_type: None, content: Vec::new() };
        let files = Files::from(["one", "two", "three"].map(|name| (name.to_owned(), file(name))));
        let variables = serde_json::json!({"a": {"files": ["one", null]}, "b": "three", "c": "four", "d": 2});
        let found = named_in(&files, &Variables::from_json(variables));
        assert_eq!(found, HashMap::from([("one", &files["one"]), ("three", &files["three"])]));
    }

    #[test]
    fn a_file_travels_between_processes_as_it_is() {
        let file = UploadedFile { name: "a".into(), media_type: None, content: vec![0, 255, 7] };
        let text = serde_json::to_string(&file).expect("JSON");
        assert_eq!(serde_json::from_str::<UploadedFile>(&text).expect("the same"), file);
        assert!(serde_json::from_str::<UploadedFile>(&text.replace("AP8H", "?")).is_err());
    }
}
