//! Documents clients have registered with the bank, and whether it takes others.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::clients::{Client, KnownClients};
use super::envelope::Envelope;
use crate::faults::FaultCode;
use crate::stitch::RequestError;

/// What the door takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DocumentPolicy {
    /// Any document, and registered ones by their id.
    #[default]
    Any,
    /// Registered documents by their id, and nothing else: an attacker cannot write operations at all.
    RegisteredOnly,
}

/// A document the bank knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    pub text: Arc<str>,
    /// The client that registered it first.
    pub client: Arc<str>,
    /// All that registered it, that one first.
    clients: Vec<Client>,
}

impl Registered {
    /// The client that asks for it: its own word counts where several registered the document, and nowhere else.
    fn asked_by(&self, declared: Client) -> Client {
        if self.clients.contains(&declared) { declared } else { self.clients.first().copied().unwrap_or(declared) }
    }
}

/// Registered documents by id. Ids are whatever the client's tool made; the SHA-256 of the text is always one.
#[derive(Debug, Clone, Default)]
pub struct TrustedDocuments {
    documents: HashMap<String, Registered>,
    clients: KnownClients,
}

/// A manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("{path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{path}: not a manifest: {reason}")]
    Format { path: String, reason: String },
    #[error("{id} is a document of {first}, and {second} registers another under it: an id never changes")]
    Conflict { id: String, first: String, second: String },
}

impl TrustedDocuments {
    /// Reads every `<client>.json` of a folder.
    ///
    /// # Errors
    /// [`ManifestError`] with the file: a bank that takes registered documents only must not start with fewer.
    pub fn of_folder(folder: &Path) -> Result<Self, ManifestError> {
        let failed = |source| ManifestError::Read { path: folder.display().to_string(), source };
        let entries = std::fs::read_dir(folder).map_err(failed)?;
        let files: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut files = files.map_err(failed)?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        let mut all = Self::default();
        for path in files {
            let shown = path.display().to_string();
            let text = std::fs::read_to_string(&path);
            let text = text.map_err(|source| ManifestError::Read { path: shown.clone(), source })?;
            let documents = manifest(&text).map_err(|reason| ManifestError::Format { path: shown, reason })?;
            let client = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            all.register(&client, documents)?;
        }
        Ok(all)
    }

    /// Adds the documents of a client. The same document may be registered again, by whomever.
    ///
    /// # Errors
    /// [`ManifestError::Conflict`] for an id (or a hash, which is one) that stands for another document already: one of
    /// the two clients would otherwise run what it did not write. Nothing may be served from `self` then.
    pub fn register(&mut self, client: &str, documents: Vec<(String, String)>) -> Result<(), ManifestError> {
        let (client, number): (Arc<str>, _) = (client.into(), self.clients.add(client));
        for (id, text) in documents {
            let registered = Registered { text: text.into(), client: Arc::clone(&client), clients: vec![number] };
            self.add(sha256(&registered.text), registered.clone())?;
            self.add(id, registered)?;
        }
        Ok(())
    }

    fn add(&mut self, id: String, new: Registered) -> Result<(), ManifestError> {
        match self.documents.get_mut(&id) {
            Some(known) if known.text != new.text => {
                Err(ManifestError::Conflict { id, first: known.client.to_string(), second: new.client.to_string() })
            }
            Some(known) => {
                for client in new.clients {
                    if !known.clients.contains(&client) {
                        known.clients.push(client);
                    }
                }
                Ok(())
            }
            None => {
                self.documents.insert(id, new);
                Ok(())
            }
        }
    }

    /// Lets the bank know a client that registers nothing.
    pub fn know(&mut self, client: &str) {
        self.clients.add(client);
    }

    /// Lets a client send ids only, while others may send texts. False for one the bank does not know: nothing would be
    /// asked of anybody.
    #[must_use]
    pub fn require_ids(&mut self, client: &str) -> bool {
        self.clients.require_ids(client)
    }

    /// The clients the bank knows by name.
    pub(super) fn known(&self) -> &KnownClients {
        &self.clients
    }

    /// Who registered each document, by its SHA-256 in hex.
    pub fn clients(&self) -> HashMap<String, Arc<str>> {
        self.documents.values().map(|known| (sha256(&known.text), Arc::clone(&known.client))).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// The document an envelope means, and the client that asks: the one that registered it, or else the `declared` one.
    ///
    /// # Errors
    /// `PERSISTED_DOCUMENT_NOT_FOUND` for an id nobody registered, `OPERATION_NOT_ALLOWED` for a text where only
    /// registered documents are taken or from a client that sends ids only, `BAD_USER_INPUT` without either.
    pub(super) fn resolve<'a>(
        &'a self,
        policy: DocumentPolicy,
        envelope: &'a Envelope<'_>,
        declared: Client,
    ) -> Result<(&'a str, Client), RequestError> {
        let id = envelope.document_id();
        if let Some(known) = id.and_then(|id| self.documents.get(id.strip_prefix("sha256:").unwrap_or(id))) {
            return Ok((&known.text, known.asked_by(declared)));
        }
        let sends_ids_only = self.clients.sends_ids_only(declared);
        let policy = if sends_ids_only { DocumentPolicy::RegisteredOnly } else { policy };
        // A hash beside a text asks the server to remember the text. It does not: anybody could register anything.
        match (policy, id, &envelope.query) {
            // Tools that cannot leave the text out beside an id leave it empty.
            (DocumentPolicy::Any, _, Some(text)) if id.is_none() || !text.is_empty() => Ok((text, declared)),
            (_, Some(_), _) => {
                let message = "No document with this id is registered.";
                Err(RequestError::new(FaultCode::PersistedDocumentNotFound, message))
            }
            (DocumentPolicy::RegisteredOnly, None, _) => {
                let whence = if sends_ids_only { "from this client" } else { "here" };
                let message =
                    format!("Only registered documents are taken {whence}: send `documentId` instead of `query`.");
                Err(RequestError::new(FaultCode::OperationNotAllowed, message))
            }
            (DocumentPolicy::Any, None, _) => {
                Err(RequestError::new(FaultCode::BadUserInput, "The request has no `query`."))
            }
        }
    }
}

/// Ids and texts of a manifest: an object of texts by id, as Relay and Hive write it, or Apollo's list of operations.
///
/// # Errors
/// What is wrong with it.
pub fn manifest(text: &str) -> Result<Vec<(String, String)>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let Value::Object(members) = value else { return Err("an object is wanted".to_owned()) };
    if let Some(Value::Array(operations)) = members.get("operations") {
        let operation = |operation: &Value| {
            let (id, body) = (operation["id"].as_str()?, operation["body"].as_str()?);
            Some((id.to_owned(), body.to_owned()))
        };
        let read: Option<Vec<_>> = operations.iter().map(operation).collect();
        return read.ok_or_else(|| "every operation needs `id` and `body`".to_owned());
    }
    let text = |(id, text): (String, Value)| match text {
        Value::String(text) => Ok((id, text)),
        _ => Err(format!("the document {id:?} is not a text")),
    };
    members.into_iter().map(text).collect()
}

/// SHA-256 in hex, the id every document has.
pub fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(policy: DocumentPolicy, body: &str) -> Result<String, FaultCode> {
        let mut documents = TrustedDocuments::default();
        documents.register("app", vec![("abc".to_owned(), "{ a }".to_owned())]).expect("a new id");
        let envelope = Envelope::from_json(body.as_bytes()).expect("an envelope");
        let resolved = documents.resolve(policy, &envelope, Client::UNNAMED);
        resolved.map(|(text, _)| text.to_owned()).map_err(|error| error.code)
    }

    #[test]
    fn a_registered_document_tells_its_client_and_of_several_the_one_that_says_its_name() {
        let mut documents = TrustedDocuments::default();
        for (client, id, text) in [
            ("app", "shared", "{ a }"),
            ("web", "other id", "{ a }"),
            ("web", "own", "{ b }"),
            ("app", "mine", "{ c }"),
        ] {
            documents.register(client, vec![(id.to_owned(), text.to_owned())]).expect("a new id");
        }
        documents.know("partner");
        let client = |name: &str| documents.known().named(name);
        let asks = |body: &str, declared: &str| {
            let envelope = Envelope::from_json(body.as_bytes()).expect("an envelope");
            documents.resolve(DocumentPolicy::Any, &envelope, client(declared)).map(|(_, client)| client)
        };
        let hash = format!(r#"{{"documentId": "sha256:{}"}}"#, sha256("{ a }"));
        for (body, declared, expected) in [
            (r#"{"documentId": "own"}"#, "", "web"),
            (r#"{"documentId": "own"}"#, "app", "web"),
            (&*hash, "web", "web"),
            (&*hash, "app", "app"),
            (&*hash, "partner", "app"),
            (r#"{"query": "{ a }"}"#, "partner", "partner"),
            (r#"{"query": "{ a }"}"#, "made up", ""),
        ] {
            assert_eq!(asks(body, declared).expect("taken"), client(expected), "{body} of {declared:?}");
        }
    }

    #[test]
    fn one_client_sends_ids_only_while_others_send_texts() {
        let mut documents = TrustedDocuments::default();
        documents.register("app", vec![("abc".to_owned(), "{ a }".to_owned())]).expect("a new id");
        documents.know("partner");
        assert!(documents.require_ids("app"));
        assert!(!documents.require_ids("ap"), "a misspelt name is told");
        let takes = |policy: DocumentPolicy, body: &str, declared: &str| {
            let envelope = Envelope::from_json(body.as_bytes()).expect("an envelope");
            let resolved = documents.resolve(policy, &envelope, documents.known().named(declared));
            resolved.map(|_| ()).map_err(|error| error.code)
        };
        let text = r#"{"query": "{ b }"}"#;
        assert_eq!(takes(DocumentPolicy::Any, text, "app"), Err(FaultCode::OperationNotAllowed));
        assert_eq!(takes(DocumentPolicy::Any, r#"{"documentId": "abc"}"#, "app"), Ok(()));
        let registration = r#"{"query": "{ b }", "extensions": {"persistedQuery": {"sha256Hash": "x"}}}"#;
        assert_eq!(takes(DocumentPolicy::Any, registration, "app"), Err(FaultCode::PersistedDocumentNotFound));
        for other in ["partner", "nobody", ""] {
            assert_eq!(takes(DocumentPolicy::Any, text, other), Ok(()), "{other:?}");
            let refused = takes(DocumentPolicy::RegisteredOnly, text, other);
            assert_eq!(refused, Err(FaultCode::OperationNotAllowed), "{other:?} where nobody sends texts");
        }
    }

    #[test]
    fn the_three_usual_manifests_are_read() {
        let expected = vec![("1".to_owned(), "{ a }".to_owned())];
        assert_eq!(manifest(r#"{"1": "{ a }"}"#), Ok(expected.clone()));
        let apollo = r#"{"format": "apollo-persisted-query-manifest", "version": 1,
            "operations": [{"id": "1", "name": "A", "type": "query", "body": "{ a }"}]}"#;
        assert_eq!(manifest(apollo), Ok(expected));
        for text in ["", "[]", r#"{"1": 2}"#, r#"{"operations": [{"id": "1"}]}"#] {
            assert!(manifest(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_registered_document_is_found_by_its_id_and_its_hash() {
        let hash = sha256("{ a }");
        for body in [
            r#"{"documentId": "abc"}"#.to_owned(),
            format!(r#"{{"documentId": "sha256:{hash}"}}"#),
            format!(r#"{{"extensions": {{"persistedQuery": {{"version": 1, "sha256Hash": "{hash}"}}}}}}"#),
        ] {
            assert_eq!(resolve(DocumentPolicy::RegisteredOnly, &body).as_deref(), Ok("{ a }"), "{body}");
            assert_eq!(resolve(DocumentPolicy::Any, &body).as_deref(), Ok("{ a }"), "{body}");
        }
    }

    #[test]
    fn an_id_stands_for_one_document_whoever_registers_it() {
        let mut documents = TrustedDocuments::default();
        let mut register = |client: &str, id: &str, text: &str| {
            let outcome = documents.register(client, vec![(id.to_owned(), text.to_owned())]);
            outcome.map_err(|error| error.to_string())
        };
        assert_eq!(register("app", "abc", "{ a }"), Ok(()));
        assert_eq!(register("web", "abc", "{ a }"), Ok(()));
        let refused = register("web", "abc", "{ b }").expect_err("another document");
        assert!(["app", "web", "abc"].into_iter().all(|word| refused.contains(word)), "{refused}");
        assert!(register("web", &sha256("{ a }"), "{ c }").is_err(), "the hash of another document is taken too");
    }

    #[test]
    fn a_folder_whose_clients_contradict_each_other_is_not_taken() {
        let folder = std::env::temp_dir().join(format!("vostro-manifests-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let write = |client: &str, text: &str| std::fs::write(folder.join(client), text).expect("it is writable");
        write("app.json", r#"{"1": "{ a }"}"#);
        write("web.json", r#"{"1": "{ a }", "2": "{ b }"}"#);
        write("notes.txt", "no manifest");
        assert!(TrustedDocuments::of_folder(&folder).is_ok_and(|documents| !documents.is_empty()));
        write("web.json", r#"{"1": "{ b }"}"#);
        let refused = TrustedDocuments::of_folder(&folder);
        assert!(matches!(refused, Err(ManifestError::Conflict { .. })), "{refused:?}");
        write("web.json", "[]");
        assert!(matches!(TrustedDocuments::of_folder(&folder), Err(ManifestError::Format { .. })));
        std::fs::remove_dir_all(&folder).expect("the folder is still there");
        assert!(matches!(TrustedDocuments::of_folder(&folder), Err(ManifestError::Read { .. })));
    }

    #[test]
    fn where_only_registered_documents_are_taken_no_text_is_and_none_can_be_registered() {
        let only = DocumentPolicy::RegisteredOnly;
        assert_eq!(resolve(only, r#"{"query": "{ a }"}"#), Err(FaultCode::OperationNotAllowed));
        assert_eq!(resolve(only, r#"{"documentId": "x"}"#), Err(FaultCode::PersistedDocumentNotFound));
        let no_text = r#"{"query": "", "documentId": "x"}"#;
        assert_eq!(resolve(DocumentPolicy::Any, no_text), Err(FaultCode::PersistedDocumentNotFound));
        let registration = r#"{"query": "{ b }", "extensions": {"persistedQuery": {"sha256Hash": "x"}}}"#;
        assert_eq!(resolve(only, registration), Err(FaultCode::PersistedDocumentNotFound));
        assert_eq!(resolve(DocumentPolicy::Any, registration).as_deref(), Ok("{ b }"));
        assert_eq!(resolve(DocumentPolicy::Any, "{}"), Err(FaultCode::BadUserInput));
    }
}
