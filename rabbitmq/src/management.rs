use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::nodes::each_node;
use crate::topology::role;

/// A client of the broker's management API (plain HTTP; keep it on a private network). Its `Debug` output holds no password.
#[derive(Clone)]
pub struct ManagementClient {
    /// One for each node, never empty.
    bases: Arc<[Url]>,
    /// The node that answered last is asked first.
    answering: Arc<AtomicUsize>,
    client: Client,
}

/// What went wrong, with the address but never the password.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    #[error("not an address of the management API (http://user:password@host:port): {0}")]
    InvalidUrl(String),
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

    /// Reads `http://user:password@host:port`; nothing is sent yet. The nodes of a cluster are separated by commas:
    /// `host:port,host:port`. Each can answer for all; one that cannot be reached is passed over.
    ///
    /// # Errors
    /// [`ManagementError::InvalidUrl`]
    pub fn new(url: &str) -> Result<Self, ManagementError> {
        let base = |node: String| {
            let base: Url = node.parse().map_err(|error| ManagementError::InvalidUrl(format!("{error}")))?;
            if base.scheme() != "http" || base.cannot_be_a_base() {
                return Err(ManagementError::InvalidUrl("it does not begin with http://".to_owned()));
            }
            Ok(base)
        };
        let bases = each_node(url).into_iter().map(base).collect::<Result<_, _>>()?;
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(Self::CONNECT)
            .timeout(Self::REQUEST)
            .build()
            .map_err(|error| ManagementError::InvalidUrl(error.without_url().to_string()))?;
        Ok(Self { bases, answering: Arc::default(), client })
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

    /// The process id of the broker's node on its own machine, for measuring what it costs.
    ///
    /// # Errors
    /// [`ManagementError`]
    pub async fn os_pid(&self) -> Result<u32, ManagementError> {
        #[derive(Deserialize)]
        struct Node {
            os_pid: String,
        }
        let nodes = self.get::<Vec<Node>>("tell its process id", &["nodes"], "").await?;
        let pid = nodes.iter().find_map(|node| node.os_pid.parse().ok());
        pid.ok_or_else(|| ManagementError::Unreadable {
            what: "tell its process id".to_owned(),
            reason: "no node names one".to_owned(),
        })
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
        let response =
            self.send(what, |base| self.request(base, Method::GET, &["health", "checks", "alarms"], "")).await?;
        match response.status() {
            StatusCode::SERVICE_UNAVAILABLE => Ok(Some(reason_of(response).await)),
            _ => self.accepted(what, response).await.map(|_| None),
        }
    }

    /// # Errors
    /// [`ManagementError`]
    pub async fn vhost_exists(&self, vhost: &str) -> Result<bool, ManagementError> {
        let what = format!("show the virtual host {vhost}");
        let response = self.send(&what, |base| self.request(base, Method::GET, &["vhosts", vhost], "")).await?;
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
        let response = self.send(what, |base| self.request(base, Method::GET, path, query)).await?;
        let body = self.accepted(what, response).await?;
        serde_json::from_slice(&body)
            .map_err(|error| ManagementError::Unreadable { what: what.to_owned(), reason: error.to_string() })
    }

    pub(crate) async fn put(&self, what: &str, path: &[&str], body: &Value) -> Result<(), ManagementError> {
        let response = self.send(what, |base| self.request(base, Method::PUT, path, "").json(body)).await?;
        self.accepted(what, response).await.map(drop)
    }

    pub(crate) async fn post(&self, what: &str, path: &[&str], body: &Value) -> Result<(), ManagementError> {
        let response = self.send(what, |base| self.request(base, Method::POST, path, "").json(body)).await?;
        self.accepted(what, response).await.map(drop)
    }

    /// Deleting what is not there is a success.
    pub(crate) async fn delete(&self, what: &str, path: &[&str]) -> Result<(), ManagementError> {
        let response = self.send(what, |base| self.request(base, Method::DELETE, path, "")).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(()),
            _ => self.accepted(what, response).await.map(drop),
        }
    }

    fn request(&self, base: &Url, method: Method, path: &[&str], query: &str) -> RequestBuilder {
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("api").extend(path);
        }
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        // The user and the password of the address are sent as a header.
        self.client.request(method, url)
    }

    /// Asks the node that answered last, and where it cannot be reached the next one: a request that never arrived can be
    /// sent again, whatever it is.
    async fn send(&self, what: &str, request: impl Fn(&Url) -> RequestBuilder) -> Result<Response, ManagementError> {
        let first = self.answering.load(Ordering::Relaxed);
        let mut tried = 0;
        loop {
            let node = (first + tried) % self.bases.len();
            tracing::debug!(what, node, "asking the management API");
            let outcome = request(&self.bases[node]).send().await;
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
                    return Err(ManagementError::Unreachable { address: self.address(), source: error.without_url() });
                }
            }
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
        let request =
            client.request(&client.bases[0], Method::GET, &["queues", "/", "a b#c"], "x=1").build().expect("valid");
        assert_eq!(request.url().as_str(), "http://broker:15672/api/queues/%2F/a%20b%23c?x=1");
        assert!(request.headers().contains_key("authorization"));
        assert_eq!(format!("{client:?}"), "ManagementClient(broker:15672)");
    }

    #[test]
    fn a_prefix_in_the_address_is_kept() {
        let client = ManagementClient::new("http://broker/rabbit/").expect("valid");
        let request = client.request(&client.bases[0], Method::GET, &["overview"], "").build().expect("valid");
        assert_eq!(request.url().as_str(), "http://broker/rabbit/api/overview");
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
        for wrong in ["amqp://u:geheim@broker", "geheim", "https://u:geheim@broker"] {
            let error = ManagementClient::new(wrong).expect_err("invalid").to_string();
            assert!(error.starts_with("not an address") && !error.contains("geheim"), "{error}");
        }
    }
}
