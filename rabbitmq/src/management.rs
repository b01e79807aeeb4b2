use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::nodes::each_node;
use crate::tls::Credentials;
use crate::topology::role;
use crate::{TlsFault, TlsFiles};

/// A client of the broker's management API (keep plain HTTP on a private network). Its `Debug` output holds no password.
#[derive(Clone)]
pub struct ManagementClient {
    /// One for each node, never empty.
    bases: Arc<[Url]>,
    /// The node that answered last is asked first.
    answering: Arc<AtomicUsize>,
    tls: TlsFiles,
    client: Arc<Mutex<Option<Made>>>,
}

/// A client, and what was in the files when it was made.
struct Made {
    with: Option<Credentials>,
    client: Client,
}

/// What went wrong, with the address but never the password.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    #[error("not an address of the management API (http://user:password@host:port, or https://…): {0}")]
    InvalidUrl(String),
    #[error("the management API at {address}: {fault}")]
    NotEncrypted { address: String, fault: TlsFault },
    #[error("the management API at {address} does not answer")]
    Unreachable { address: String, source: reqwest::Error },
    #[error("the management API at {address} does not accept the user or the password")]
    Unauthorized { address: String },
    /// The broker understood the request and refused it, with its reason.
    #[error("the broker refuses to {what}: {reason} (HTTP {status})")]
    Refused { what: String, reason: String, status: u16 },
    #[error("cannot read what the broker answers when asked to {what}: {reason}")]
    Unreadable { what: String, reason: String },
}

/// How full a queue is. The counts of messages may be up to five seconds old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueStatistics {
    pub name: String,
    /// All messages, those included that wait to be dead-lettered.
    pub messages: u64,
    /// Waiting for a consumer.
    pub ready: u64,
    /// With a consumer, not settled yet.
    pub unacknowledged: u64,
    pub consumers: u64,
}

/// A client connection as the broker sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BrokerConnection {
    /// The broker's own name for it.
    pub name: String,
    /// What the client calls itself.
    #[serde(default, rename = "user_provided_name")]
    pub client_name: String,
    pub vhost: String,
}

impl ManagementClient {
    const CONNECT: Duration = Duration::from_secs(3);
    const REQUEST: Duration = Duration::from_secs(15);
    /// How often a question is asked at most that the node has failed to answer.
    const READS: u32 = 3;
    const BETWEEN_READS: Duration = Duration::from_millis(200);

    /// Reads `http://user:password@host:port` or `https://…`; nothing is sent yet. The nodes of a cluster are separated
    /// by commas: `host:port,host:port`. Each can answer for all; one that cannot be reached is passed over.
    ///
    /// # Errors
    /// [`ManagementError::InvalidUrl`]
    pub fn new(url: &str) -> Result<Self, ManagementError> {
        let base = |node: String| {
            let base: Url = node.parse().map_err(|error| ManagementError::InvalidUrl(format!("{error}")))?;
            if !["http", "https"].contains(&base.scheme()) || base.cannot_be_a_base() {
                return Err(ManagementError::InvalidUrl("it does not begin with http:// or https://".to_owned()));
            }
            Ok(base)
        };
        let bases = each_node(url).into_iter().map(base).collect::<Result<_, _>>()?;
        Ok(Self { bases, answering: Arc::default(), tls: TlsFiles::default(), client: Arc::default() })
    }

    /// The same API, known by these files where it is reached by `https://`.
    #[must_use]
    pub fn with_tls(mut self, files: TlsFiles) -> Self {
        self.tls = files;
        self
    }

    /// Host and port of each node, for people.
    pub fn address(&self) -> String {
        let address = |base: &Url| {
            let host = base.host_str().unwrap_or_default();
            base.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
        };
        self.bases.iter().map(address).collect::<Vec<_>>().join(",")
    }

    /// The broker's release, such as `3.10.8`.
    ///
    /// # Errors
    /// [`ManagementError`]
    pub async fn version(&self) -> Result<String, ManagementError> {
        #[derive(Deserialize)]
        struct Overview {
            rabbitmq_version: String,
        }
        Ok(self.get::<Overview>("tell its version", &["overview"], "").await?.rabbitmq_version)
    }

    /// The process id of the broker's node on its own machine, for measuring what it costs. `None` in its first
    /// seconds, when the management API knows nothing of its node yet.
    ///
    /// # Errors
    /// [`ManagementError`]
    pub async fn os_pid(&self) -> Result<Option<u32>, ManagementError> {
        #[derive(Deserialize)]
        struct Node {
            os_pid: Option<String>,
        }
        let nodes = self.get::<Vec<Node>>("tell its process id", &["nodes"], "").await?;
        Ok(nodes.iter().find_map(|node| node.os_pid.as_ref()?.parse().ok()))
    }

    /// Whom the broker takes us for.
    ///
    /// # Errors
    /// [`ManagementError`]
    pub async fn whoami(&self) -> Result<String, ManagementError> {
        #[derive(Deserialize)]
        struct User {
            name: String,
        }
        Ok(self.get::<User>("tell the user's name", &["whoami"], "").await?.name)
    }

    /// The memory or disk alarm that is in force, in the broker's words. Publishing stands still meanwhile.
    ///
    /// # Errors
    /// [`ManagementError`]
    pub async fn alarm(&self) -> Result<Option<String>, ManagementError> {
        let what = "check its alarms";
        let response = self.send(what, Method::GET, &["health", "checks", "alarms"], "", None).await?;
        match response.status() {
            StatusCode::SERVICE_UNAVAILABLE => Ok(Some(reason_of(response).await)),
            _ => self.accepted(what, response).await.map(|_| None),
        }
    }

    /// # Errors
    /// [`ManagementError`]
    pub async fn vhost_exists(&self, vhost: &str) -> Result<bool, ManagementError> {
        let what = format!("show the virtual host {vhost}");
        let response = self.send(&what, Method::GET, &["vhosts", vhost], "", None).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(false),
            _ => self.accepted(&what, response).await.map(|_| true),
        }
    }

    /// Creates the virtual host unless it exists, and gives our own user every right in it.
    ///
    /// # Errors
    /// [`ManagementError`]
    pub async fn create_vhost(&self, vhost: &str) -> Result<(), ManagementError> {
        self.put(&format!("create the virtual host {vhost}"), &["vhosts", vhost], &json!({})).await?;
        let user = self.whoami().await?;
        self.grant(vhost, &user, ".*", ".*", ".*").await
    }

    /// Lets a user configure, write to and read from what the regular expressions match.
    ///
    /// # Errors
    /// [`ManagementError`]
    pub async fn grant(
        &self,
        vhost: &str,
        user: &str,
        configure: &str,
        write: &str,
        read: &str,
    ) -> Result<(), ManagementError> {
        let permissions = json!({ "configure": configure, "write": write, "read": read });
        let what = format!("grant {user} rights in the virtual host {vhost}");
        self.put(&what, &["permissions", vhost, user], &permissions).await
    }

    /// Deletes a virtual host with everything in it, and the users that were made for it; what does not exist is fine.
    ///
    /// # Errors
    /// [`ManagementError`]
    pub async fn delete_vhost(&self, vhost: &str) -> Result<(), ManagementError> {
        #[derive(Deserialize)]
        struct User {
            name: String,
        }
        self.delete(&format!("delete the virtual host {vhost}"), &["vhosts", vhost]).await?;
        let users: Vec<User> = self.get("list the users", &["users"], "").await?;
        let ours: Vec<_> = users.iter().map(|user| &user.name).filter(|name| role(vhost, name).is_some()).collect();
        if ours.is_empty() {
            return Ok(());
        }
        let what = format!("delete the users of {vhost}");
        self.post(&what, &["users", "bulk-delete"], &json!({ "users": ours })).await
    }

    /// Every queue of a virtual host, by name.
    ///
    /// # Errors
    /// [`ManagementError`]
    pub async fn queues(&self, vhost: &str) -> Result<Vec<QueueStatistics>, ManagementError> {
        #[derive(Deserialize)]
        struct Queue {
            name: String,
            #[serde(default)]
            messages: u64,
            #[serde(default)]
            messages_ready: u64,
            #[serde(default)]
            messages_unacknowledged: u64,
        }
        #[derive(Deserialize)]
        struct Consumer {
            queue: ConsumedQueue,
        }
        #[derive(Deserialize)]
        struct ConsumedQueue {
            name: String,
        }
        let what = format!("list the queues of {vhost}");
        let queues: Vec<Queue> = self.get(&what, &["queues", vhost], TOTALS).await?;
        let consumers: Vec<Consumer> =
            self.get(&format!("list the consumers of {vhost}"), &["consumers", vhost], "").await?;
        let mut statistics: Vec<QueueStatistics> = queues
            .into_iter()
            .map(|queue| QueueStatistics {
                consumers: consumers
                    .iter()
                    .filter(|consumer| consumer.queue.name == queue.name)
                    .fold(0, |count, _| count + 1),
                name: queue.name,
                messages: queue.messages,
                ready: queue.messages_ready,
                unacknowledged: queue.messages_unacknowledged,
            })
            .collect();
        statistics.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(statistics)
    }

    /// One queue; `None` when it does not exist.
    ///
    /// # Errors
    /// [`ManagementError`]
    pub async fn queue(&self, vhost: &str, name: &str) -> Result<Option<QueueStatistics>, ManagementError> {
        Ok(self.queues(vhost).await?.into_iter().find(|queue| queue.name == name))
    }

    /// # Errors
    /// [`ManagementError`]
    pub async fn delete_queue(&self, vhost: &str, name: &str) -> Result<(), ManagementError> {
        self.delete(&format!("delete the queue {name}"), &["queues", vhost, name]).await
    }

    /// The client connections of a virtual host. One that was opened a moment ago may be missing still.
    ///
    /// # Errors
    /// [`ManagementError`]
    pub async fn connections(&self, vhost: &str) -> Result<Vec<BrokerConnection>, ManagementError> {
        self.get(&format!("list the connections of {vhost}"), &["vhosts", vhost, "connections"], "").await
    }

    /// Closes a client's connection by force; one that is gone already is fine.
    ///
    /// # Errors
    /// [`ManagementError`]
    pub async fn close_connection(&self, name: &str) -> Result<(), ManagementError> {
        self.delete(&format!("close the connection {name}"), &["connections", name]).await
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &[&str],
        query: &str,
    ) -> Result<T, ManagementError> {
        let mut attempt = 1;
        let body = loop {
            let response = self.send(what, Method::GET, path, query, None).await?;
            match self.accepted(what, response).await {
                // A list fails when something in it is deleted while it is made.
                Err(ManagementError::Refused { status: 500.., .. }) if attempt < Self::READS => {
                    attempt += 1;
                    tokio::time::sleep(Self::BETWEEN_READS).await;
                }
                answer => break answer?,
            }
        };
        serde_json::from_slice(&body)
            .map_err(|error| ManagementError::Unreadable { what: what.to_owned(), reason: error.to_string() })
    }

    pub(crate) async fn put(&self, what: &str, path: &[&str], body: &Value) -> Result<(), ManagementError> {
        let response = self.send(what, Method::PUT, path, "", Some(body)).await?;
        self.accepted(what, response).await.map(drop)
    }

    pub(crate) async fn post(&self, what: &str, path: &[&str], body: &Value) -> Result<(), ManagementError> {
        let response = self.send(what, Method::POST, path, "", Some(body)).await?;
        self.accepted(what, response).await.map(drop)
    }

    /// Deleting what is not there is a success.
    pub(crate) async fn delete(&self, what: &str, path: &[&str]) -> Result<(), ManagementError> {
        let response = self.send(what, Method::DELETE, path, "", None).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(()),
            _ => self.accepted(what, response).await.map(drop),
        }
    }

    /// The client for a request: where the API is encrypted, one that was made with the files as they are now.
    async fn client(&self) -> Result<Client, ManagementError> {
        let not_encrypted = |fault| ManagementError::NotEncrypted { address: self.address(), fault };
        let credentials = match self.bases[0].scheme() {
            "https" => Some(self.tls.read().await.map_err(not_encrypted)?),
            _ => None,
        };
        let mut made = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Made { with, client }) = &*made
            && *with == credentials
        {
            return Ok(client.clone());
        }
        let builder = Client::builder().no_proxy().connect_timeout(Self::CONNECT).timeout(Self::REQUEST);
        let builder = match &credentials {
            Some(credentials) => builder.tls_backend_preconfigured(credentials.client_config().map_err(not_encrypted)?),
            // Nobody has to be trusted.
            None => builder.tls_certs_only([]),
        };
        let client = builder.build().map_err(|error| self.unreachable(error))?;
        *made = Some(Made { with: credentials, client: client.clone() });
        Ok(client)
    }

    /// Asks the node that answered last, and where it cannot be reached the next one: a request that never arrived can be
    /// sent again, whatever it is.
    async fn send(
        &self,
        what: &str,
        method: Method,
        path: &[&str],
        query: &str,
        body: Option<&Value>,
    ) -> Result<Response, ManagementError> {
        let client = self.client().await?;
        let first = self.answering.load(Ordering::Relaxed);
        let mut tried = 0;
        loop {
            let node = (first + tried) % self.bases.len();
            tracing::debug!(what, node, "asking the management API");
            let request = request(&client, &self.bases[node], method.clone(), path, query);
            let request = match body {
                Some(body) => request.json(body),
                None => request,
            };
            let outcome = request.send().await;
            tried += 1;
            match outcome {
                Err(error) if error.is_connect() && tried < self.bases.len() => {}
                Ok(response) => {
                    self.answering.store(node, Ordering::Relaxed);
                    return Ok(response);
                }
                Err(error) => {
                    // One that is connected and silent is not asked first again.
                    self.answering.store(node + 1, Ordering::Relaxed);
                    return Err(self.unreachable(error));
                }
            }
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> ManagementError {
        match TlsFault::behind(&error) {
            Some(fault) => ManagementError::NotEncrypted { address: self.address(), fault },
            None => ManagementError::Unreachable { address: self.address(), source: error.without_url() },
        }
    }

    async fn accepted(&self, what: &str, response: Response) -> Result<Vec<u8>, ManagementError> {
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            return Err(ManagementError::Unauthorized { address: self.address() });
        }
        if !status.is_success() {
            let reason = match status {
                StatusCode::NOT_FOUND => "there is no such thing".to_owned(),
                _ => reason_of(response).await,
            };
            return Err(ManagementError::Refused { what: what.to_owned(), reason, status: status.as_u16() });
        }
        let body = response.bytes().await.map_err(|error| ManagementError::Unreadable {
            what: what.to_owned(),
            reason: error.without_url().to_string(),
        })?;
        Ok(body.into())
    }
}

impl fmt::Debug for ManagementClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ManagementClient({})", self.address())
    }
}

fn request(client: &Client, base: &Url, method: Method, path: &[&str], query: &str) -> RequestBuilder {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push("api").extend(path);
    }
    url.set_query(Some(query).filter(|query| !query.is_empty()));
    // The user and the password of the address are sent as a header.
    client.request(method, url)
}

/// The ordinary listing shows what a statistics collector saw up to five seconds ago, and new queues without their
/// policies; this one asks the queues.
pub(crate) const TOTALS: &str = "disable_stats=true&enable_queue_totals=true";

/// Errors come as `{"error": …, "reason": …}`, sometimes as text.
async fn reason_of(response: Response) -> String {
    let text = response.text().await.unwrap_or_default();
    let reason = serde_json::from_str::<Value>(&text).ok().and_then(|body| {
        body.get("reason").or_else(|| body.get("error")).map(|reason| match reason {
            Value::String(reason) => reason.clone(),
            other => other.to_string(),
        })
    });
    reason.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn names_are_escaped_in_paths_and_the_address_keeps_no_secret() {
        let client = ManagementClient::new("http://u:geheim@broker:15672").expect("valid");
        let request = request(&Client::new(), &client.bases[0], Method::GET, &["queues", "/", "a b#c"], "x=1");
        let request = request.build().expect("valid");
        assert_eq!(request.url().as_str(), "http://broker:15672/api/queues/%2F/a%20b%23c?x=1");
        assert!(request.headers().contains_key("authorization"));
        assert_eq!(format!("{client:?}"), "ManagementClient(broker:15672)");
    }

    #[test]
    fn a_prefix_in_the_address_is_kept() {
        let client = ManagementClient::new("http://broker/rabbit/").expect("valid");
        let request = request(&Client::new(), &client.bases[0], Method::GET, &["overview"], "");
        let request = request.build().expect("valid");
        assert_eq!(request.url().as_str(), "http://broker/rabbit/api/overview");
    }

    #[tokio::test]
    async fn a_question_the_node_fails_to_answer_is_asked_again_and_in_the_end_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let failed = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let fine = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\nconnection: close\r\n\r\n{\"name\":\"x\"}";
        let answering = async {
            for answer in [failed, failed, fine, failed, failed, failed] {
                let (mut socket, _) = listener.accept().await.expect("a request");
                assert_ne!(socket.read(&mut [0; 1024]).await.expect("a request"), 0);
                socket.write_all(answer.as_bytes()).await.expect("sent");
            }
        };
        let client = ManagementClient::new(&format!("http://u:p@{address}")).expect("valid");
        let asking = async { (client.whoami().await, client.whoami().await) };
        let (answered, given_up) = tokio::join!(answering, asking).1;
        assert_eq!(answered.expect("at the third attempt"), "x");
        assert!(matches!(given_up, Err(ManagementError::Refused { status: 500, .. })), "{given_up:?}");
    }

    #[tokio::test]
    async fn of_several_nodes_the_one_that_can_be_reached_is_asked() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let answering = async {
            for _ in 0..2 {
                let (mut socket, _) = listener.accept().await.expect("a request");
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\nconnection: close\r\n\r\n{\"name\":\"x\"}";
                assert_ne!(socket.read(&mut [0; 1024]).await.expect("a request"), 0);
                socket.write_all(answer.as_bytes()).await.expect("sent");
            }
        };
        let client = ManagementClient::new(&format!("http://u:p@127.0.0.1:1,{address}")).expect("valid");
        let asking = async { (client.whoami().await.expect("answered"), client.whoami().await.expect("answered")) };
        assert_eq!(tokio::join!(answering, asking).1, ("x".to_owned(), "x".to_owned()));
        assert_eq!(client.answering.load(Ordering::Relaxed), 1, "the one that answers is asked first");
        assert_eq!(client.address(), format!("127.0.0.1:1,{address}"));
    }

    #[tokio::test]
    async fn an_absent_broker_and_a_wrong_address_are_told_apart_without_the_password() {
        let client = ManagementClient::new("http://u:geheim@127.0.0.1:1").expect("valid");
        let error = client.version().await.expect_err("nobody there");
        assert_eq!(error.to_string(), "the management API at 127.0.0.1:1 does not answer");
        assert!(!format!("{error:?}").contains("geheim"));
        for wrong in ["amqp://u:geheim@broker", "geheim", "ftp://u:geheim@broker"] {
            let error = ManagementClient::new(wrong).expect_err("invalid").to_string();
            assert!(error.starts_with("not an address") && !error.contains("geheim"), "{error}");
        }
    }
}
