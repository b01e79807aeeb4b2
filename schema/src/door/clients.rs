//! Which program a caller uses, as far as it says so.
//!
//! A name proves nothing: whoever sends one may send another, or none. So it divides what its caller may do anyway and
//! never adds to it, and only names the bank was told beforehand mean anything. All others are one client, so that nobody
//! makes memory or metrics grow by making names up.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};

/// Where clients write their name: as tools of The Guild do, and as Apollo's clients do by themselves.
const NAME_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("graphql-client-name"), HeaderName::from_static("apollographql-client-name")];

/// A client program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Client(usize);

impl Client {
    /// Whoever says no name, or one the bank does not know.
    pub const UNNAMED: Self = Self(0);
}

/// The clients a bank knows by name.
#[derive(Debug, Clone, Default)]
pub struct KnownClients {
    names: HashMap<Arc<str>, Client>,
    ids_only: Vec<Client>,
}

impl KnownClients {
    pub fn add(&mut self, name: &str) -> Client {
        let next = Client(self.names.len() + 1);
        *self.names.entry(name.into()).or_insert(next)
    }

    /// Lets a client send ids of registered documents only; false for one the bank does not know.
    pub fn require_ids(&mut self, name: &str) -> bool {
        let known = self.names.get(name);
        self.ids_only.extend(known);
        known.is_some()
    }

    pub fn sends_ids_only(&self, client: Client) -> bool {
        self.ids_only.contains(&client)
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub fn named(&self, name: &str) -> Client {
        self.names.get(name).copied().unwrap_or_default()
    }

    pub fn by_headers(&self, headers: &HeaderMap) -> Client {
        if self.is_empty() {
            return Client::UNNAMED;
        }
        let name = NAME_HEADERS.iter().find_map(|header| headers.get(header)?.to_str().ok());
        name.map_or(Client::UNNAMED, |name| self.named(name))
    }
}

/// Whether a member of the first message over a WebSocket, where browsers cannot send headers, is the client's name.
pub fn is_name_header(name: &str) -> bool {
    NAME_HEADERS.iter().any(|header| name.eq_ignore_ascii_case(header.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_nobody_told_the_bank_are_all_the_same_client() {
        let mut clients = KnownClients::default();
        let (app, web) = (clients.add("app"), clients.add("web"));
        assert_eq!((clients.add("app"), clients.named("web")), (app, web));
        assert!(app != web && app != Client::UNNAMED && web != Client::UNNAMED);
        for made_up in ["", "App", "app ", "nobody"] {
            assert_eq!(clients.named(made_up), Client::UNNAMED, "{made_up:?}");
        }
    }

    #[test]
    fn a_client_names_itself_in_a_header_as_its_tools_write_it() {
        let mut clients = KnownClients::default();
        let app = clients.add("app");
        for (header, name, expected) in [
            ("graphql-client-name", "app", app),
            ("apollographql-client-name", "app", app),
            ("apollographql-client-name", "nobody", Client::UNNAMED),
            ("client-name", "app", Client::UNNAMED),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header, name.parse().expect("a value"));
            assert_eq!(clients.by_headers(&headers), expected, "{header}: {name}");
        }
        assert_eq!(clients.by_headers(&HeaderMap::new()), Client::UNNAMED);
    }
}
