use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// What a till shows of its account.
const DOCUMENT: &str = "subscription Till($account: ID!) { balanceChanged(accountId: $account) {
  sequence kind balance { posted { amount currency } available { amount } } transactionId occurredAt cursor } }";

/// A subscriber: one connection, one subscription.
pub struct Socket(WebSocketStream<TcpStream>);

/// What the bank told about the account.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    pub sequence: i64,
    pub kind: String,
    /// When the ledger booked it, by the clock of this machine.
    pub occurred_at: DateTime<Utc>,
}

impl Socket {
    /// Connects, subscribes, and returns with the snapshot.
    pub async fn subscribe(address: SocketAddr, token: &str, account: &str) -> anyhow::Result<(Self, Update)> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{address}/graphql").into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse()?);
        // Messages are small and connections many.
        let config = WebSocketConfig::default().read_buffer_size(2 * 1024).write_buffer_size(0);
        let (stream, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
        let mut socket = Self(stream);
        let authorization = format!("Bearer {token}");
        socket.send(&json!({"type": "connection_init", "payload": {"authorization": authorization}})).await?;
        let acknowledged: Value = serde_json::from_str(&socket.receive().await?)?;
        if acknowledged["type"] != "connection_ack" {
            bail!("the bank said {acknowledged} in place of its welcome");
        }
        let payload = json!({"query": DOCUMENT, "variables": {"account": account}});
        let subscribe = json!({"id": "1", "type": "subscribe", "payload": payload});
        loop {
            socket.send(&subscribe).await?;
            let first = socket.receive().await?;
            match retry_after(&first) {
                // The caller's budget of points is spent for the moment.
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Ok((socket, read(&first)?)),
            }
        }
    }

    async fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        Ok(self.0.send(Message::text(message.to_string())).await?)
    }

    /// The next text, as it came. Pings are answered on the way.
    pub async fn receive(&mut self) -> anyhow::Result<Utf8Bytes> {
        loop {
            match self.0.next().await.context("the bank hung up")?? {
                Message::Text(text) => return Ok(text),
                Message::Close(reason) => bail!("the bank closed the connection: {reason:?}"),
                _ => {}
            }
        }
    }
}

/// The update in a message.
///
/// # Errors
/// When it is anything else.
pub fn read(message: &str) -> anyhow::Result<Update> {
    #[derive(Deserialize)]
    struct Next {
        payload: Payload,
    }
    #[derive(Deserialize)]
    struct Payload {
        data: Data,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        balance_changed: Update,
    }
    let next: Next = serde_json::from_str(message).with_context(|| format!("not an update: {message}"))?;
    Ok(next.payload.data.balance_changed)
}

fn retry_after(message: &str) -> Option<Duration> {
    let message: Value = serde_json::from_str(message).ok()?;
    let extensions = &message["payload"][0]["extensions"];
    (extensions["code"] == "RATE_LIMITED")
        .then(|| Duration::from_millis(extensions["retryAfterMs"].as_u64().unwrap_or(100)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_read_and_a_refusal_is_not_one() {
        let update = r#"{"type":"next","id":"1","payload":{"data":{"balanceChanged":
            {"sequence":3,"kind":"CHANGE","balance":{},"occurredAt":"2026-11-21T10:00:00.123Z"}}}}"#;
        let update = read(update).expect("an update");
        assert_eq!((update.sequence, update.kind.as_str()), (3, "CHANGE"));
        let refusal =
            r#"{"type":"error","id":"1","payload":[{"extensions":{"code":"RATE_LIMITED","retryAfterMs":40}}]}"#;
        assert!(read(refusal).is_err());
        assert_eq!(retry_after(refusal), Some(Duration::from_millis(40)));
    }
}
