use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::World;

/// A client of the bank by `graphql-transport-ws`.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// The connection is gone.
#[derive(Debug)]
pub struct CutOff;

impl Socket {
    pub async fn open(world: &World, token: &str) -> Self {
        Self::open_at(world.config.http.address, token).await
    }

    pub async fn open_at(address: SocketAddr, token: &str) -> Self {
        Self::try_open_at(address, token).await.expect("the bank accepts a WebSocket")
    }

    /// The same where connections may be cut at any time.
    pub async fn try_open_at(address: SocketAddr, token: &str) -> Result<Self, CutOff> {
        let stream = TcpStream::connect(address).await.map_err(|_| CutOff)?;
        Self::over(stream, address, token).await
    }

    /// A client with as little room as can be, so that what it does not read waits with the bank.
    pub async fn open_narrow_at(address: SocketAddr, token: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 * 1024).expect("a buffer");
        let stream = socket.connect(address).await.expect("the bank listens");
        Self::over(stream, address, token).await.expect("the bank accepts a WebSocket")
    }

    async fn over(stream: TcpStream, address: SocketAddr, token: &str) -> Result<Self, CutOff> {
        let url = format!("ws://{address}/graphql");
        let mut request = url.into_client_request().expect("a URL");
        let protocol = "graphql-transport-ws".parse().expect("a header value");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let stream = MaybeTlsStream::Plain(stream);
        let (stream, _) = tokio_tungstenite::client_async(request, stream).await.map_err(|_| CutOff)?;
        let mut socket = Self(stream);
        let payload = json!({"authorization": format!("Bearer {token}")});
        socket.try_send(json!({"type": "connection_init", "payload": payload})).await?;
        assert_eq!(socket.try_receive().await?["type"], "connection_ack");
        Ok(socket)
    }

    pub async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        self.try_subscribe(id, query, variables).await.expect("sent");
    }

    pub async fn try_subscribe(&mut self, id: &str, query: &str, variables: Value) -> Result<(), CutOff> {
        let payload = json!({"query": query, "variables": variables});
        self.try_send(json!({"id": id, "type": "subscribe", "payload": payload})).await
    }

    async fn try_send(&mut self, message: Value) -> Result<(), CutOff> {
        self.0.send(Message::text(message.to_string())).await.map_err(|_| CutOff)
    }

    pub async fn receive(&mut self) -> Value {
        self.try_receive().await.expect("the socket is open")
    }

    async fn try_receive(&mut self) -> Result<Value, CutOff> {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(60), self.0.next()).await;
            match message.expect("something comes within a minute") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(text.as_str()).expect("JSON")),
                Some(Ok(Message::Close(reason))) => panic!("closed: {reason:?}"),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(CutOff),
            }
        }
    }

    /// The data of the next `next` message of a subscription.
    pub async fn next(&mut self, id: &str) -> Value {
        self.try_next(id).await.expect("the socket is open")
    }

    pub async fn try_next(&mut self, id: &str) -> Result<Value, CutOff> {
        loop {
            let message = self.try_receive().await?;
            match message["type"].as_str() {
                Some("next") if message["id"] == id => return Ok(message["payload"]["data"].clone()),
                Some("error" | "complete") => panic!("ended: {message}"),
                Some("ping") => self.try_send(json!({"type": "pong"})).await?,
                _ => {}
            }
        }
    }
}
