use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// The request did not lead to a GraphQL answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot reach the bank at {address}: {source}")]
    Connect { address: SocketAddr, source: std::io::Error },
    #[error("the connection to the bank broke: {0}")]
    Http(#[from] hyper::Error),
    #[error("the bank answered something that is not JSON (status {status})")]
    NotJson { status: StatusCode },
    #[error("the bank refused the request: {0}")]
    Errors(Value),
}

/// One keep-alive HTTP/1.1 connection to the bank.
pub struct Connection {
    address: SocketAddr,
    sender: http1::SendRequest<Full<Bytes>>,
    authorization: Option<String>,
    traceparent: Option<String>,
}

impl Connection {
    /// # Errors
    /// [`ClientError::Connect`] when nobody listens there.
    pub async fn open(address: SocketAddr) -> Result<Self, ClientError> {
        let stream = TcpStream::connect(address).await.map_err(|source| ClientError::Connect { address, source })?;
        stream.set_nodelay(true).map_err(|source| ClientError::Connect { address, source })?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends by itself when the sender is dropped or the bank closes the connection; the sender then reports it.
        tokio::spawn(connection);
        Ok(Self { address, sender, authorization: None, traceparent: None })
    }

    /// Sends this access token with every request from now on.
    pub fn log_in_with(&mut self, access_token: &str) {
        self.authorization = Some(format!("Bearer {access_token}"));
    }

    /// Lets every request from now on belong to this W3C trace context.
    pub fn trace_as(&mut self, traceparent: &str) {
        self.traceparent = Some(traceparent.to_owned());
    }

    /// Runs a document and returns the whole answer, errors included.
    ///
    /// # Errors
    /// [`ClientError`] when there is no GraphQL answer at all.
    pub async fn answer(&mut self, document: &str, variables: Value) -> Result<Value, ClientError> {
        let body = json!({"query": document, "variables": variables}).to_string();
        let (status, bytes) = self.send(Method::POST, "/graphql", body.into()).await?;
        serde_json::from_slice(&bytes).map_err(|_| ClientError::NotJson { status })
    }

    /// Runs a document and returns its data.
    ///
    /// # Errors
    /// [`ClientError::Errors`] with the errors of the answer when it has any.
    pub async fn data(&mut self, document: &str, variables: Value) -> Result<Value, ClientError> {
        let mut answer = self.answer(document, variables).await?;
        match answer.get_mut("errors").map(Value::take) {
            Some(errors) if !errors.is_null() => Err(ClientError::Errors(errors)),
            _ => Ok(answer["data"].take()),
        }
    }

    /// Fetches a path outside GraphQL, such as `/health/ready`.
    ///
    /// # Errors
    /// [`ClientError::Http`] when the connection broke.
    pub async fn get(&mut self, path: &str) -> Result<(StatusCode, Bytes), ClientError> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), ClientError> {
        self.sender.ready().await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(traceparent) = &self.traceparent {
            request = request.header("traceparent", traceparent);
        }
        let request = request.body(Full::new(body)).expect("method, path and headers are well formed");
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}
