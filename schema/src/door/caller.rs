//! What the transport tells about the other side, beside its token.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::request::Parts;

use super::DoorConfig;
use super::clients::Client;
use super::tracing_headers::{self, Traced};

/// The other side of a connection.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Where the request comes from; `None` when the server does not tell.
    pub address: Option<IpAddr>,
    pub traceparent: Option<String>,
    /// The client program, by its own word.
    pub client: Client,
    /// A WebSocket, over which operations come for as long as it lasts.
    pub is_connection: bool,
}

impl Caller {
    pub fn of(parts: &Parts, config: &DoorConfig) -> Self {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
        let address = if config.behind_proxy { forwarded(parts).or(peer) } else { peer };
        let traceparent = match parts.extensions.get::<Traced>() {
            Some(Traced(traceparent)) => traceparent.clone(),
            None => tracing_headers::traceparent(&parts.headers),
        };
        let client = config.registered.known().by_headers(&parts.headers);
        Self { address, traceparent, client, is_connection: false }
    }
}

/// The address our own proxy wrote: the last one. Those before it are whatever the client claimed.
fn forwarded(parts: &Parts) -> Option<IpAddr> {
    let last = parts.headers.get_all("x-forwarded-for").iter().next_back()?;
    last.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    #[test]
    fn only_a_proxy_of_ones_own_is_believed_and_only_its_last_word() {
        let request = Request::builder().header("x-forwarded-for", "10.9.9.9, 192.0.2.7");
        let (mut parts, ()) = request.body(()).expect("a request").into_parts();
        parts.extensions.insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5))));
        let of = |behind_proxy| Caller::of(&parts, &DoorConfig { behind_proxy, ..DoorConfig::default() }).address;
        assert_eq!(of(false), Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(of(true), Some(IpAddr::from([192, 0, 2, 7])));
    }
}
