use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

/// Opens a subscription over server-sent events; nobody's token is empty.
pub async fn listen(address: SocketAddr, token: &str, document: &str, variables: &Value) -> reqwest::Response {
    let body = json!({"query": document, "variables": variables});
    let client = reqwest::Client::new().post(format!("http://{address}/graphql"));
    let mut request = client.header("accept", "text/event-stream").json(&body);
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    request.send().await.expect("somebody listens there")
}

/// One subscription of its own, to the bank or to a gateway before it.
pub struct EventStream {
    response: reqwest::Response,
    read: Vec<u8>,
}

impl EventStream {
    pub async fn open(address: SocketAddr, token: &str, document: &str, variables: &Value) -> Self {
        Self { response: listen(address, token, document, variables).await, read: Vec::new() }
    }

    /// The next event; `None` when the other side has said that there is none.
    ///
    /// # Panics
    /// When nothing comes within a minute, and when the stream is cut off.
    pub async fn next(&mut self) -> Option<Value> {
        tokio::time::timeout(Duration::from_secs(60), self.read_on()).await.expect("an event within a minute")
    }

    async fn read_on(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.read.drain(..end + 2).collect();
                let event = String::from_utf8(event).expect("UTF-8");
                let line = |name| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                match line("event:") {
                    Some("next") => return serde_json::from_str(line("data:").expect("data")).expect("JSON"),
                    Some("complete") => return None,
                    // A sign of life.
                    _ => continue,
                }
            }
            let chunk = self.response.chunk().await.expect("the stream holds");
            self.read.extend_from_slice(&chunk.expect("a last word"));
        }
    }
}
