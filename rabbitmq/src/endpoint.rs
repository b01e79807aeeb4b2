use std::fmt;
use std::net::SocketAddr;

use lapin::uri::{AMQPScheme, AMQPUri, AMQPUserInfo};

use crate::TlsFiles;
use crate::nodes::each_node;

/// Where the broker is, one node or several, and who we are there. Its `Debug` output holds no password.
#[derive(Clone)]
pub struct Endpoint {
    /// One for each node, never empty; they differ in host and port only.
    nodes: Vec<AMQPUri>,
    tls: TlsFiles,
}

/// The broker's address in the configuration is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an AMQP address (amqp://user:password@host:port/vhost, or host:port,host:port for a cluster): {0}")]
pub struct InvalidEndpoint(String);

impl Endpoint {
    /// A peer that is silent for twice this many seconds is gone.
    const HEARTBEAT_SECONDS: u16 = 10;
    /// lapin keeps 32 frames of buffer in each direction of each connection; the default of 128 KiB per frame would cost
    /// 8 MiB per connection. Most messages fit in one frame of this size (bytes); a larger one is split and costs no more.
    const FRAME_MAX: u32 = 32 * 1024;

    /// Reads `amqp://user:password@host:port/vhost` or `amqps://…`; without a path the virtual host is `/`. The nodes of a
    /// cluster are separated by commas: `host:port,host:port`.
    ///
    /// # Errors
    /// [`InvalidEndpoint`]; the text does not repeat the address, which holds a password.
    pub fn parse(url: &str) -> Result<Self, InvalidEndpoint> {
        let node = |node: String| {
            let mut uri: AMQPUri = node.parse().map_err(|error: String| {
                InvalidEndpoint(if error.contains(&node) { "it cannot be read".to_owned() } else { error })
            })?;
            uri.query.heartbeat = Some(Self::HEARTBEAT_SECONDS);
            uri.query.frame_max = Some(uri.query.frame_max.unwrap_or(Self::FRAME_MAX));
            Ok(uri)
        };
        let nodes = each_node(url).into_iter().map(node).collect::<Result<_, _>>()?;
        Ok(Self { nodes, tls: TlsFiles::default() })
    }

    /// The same broker, known by these files where it is reached by `amqps://`.
    #[must_use]
    pub fn with_tls(mut self, files: TlsFiles) -> Self {
        self.tls = files;
        self
    }

    /// The same broker and user, another virtual host.
    #[must_use]
    pub fn with_vhost(mut self, vhost: &str) -> Self {
        for node in &mut self.nodes {
            vhost.clone_into(&mut node.vhost);
        }
        self
    }

    /// The same broker, somebody else.
    #[must_use]
    pub fn with_login(mut self, user: &str, password: &str) -> Self {
        for node in &mut self.nodes {
            node.authority.userinfo = AMQPUserInfo { username: user.to_owned(), password: password.to_owned() };
        }
        self
    }

    /// The same broker on another way, such as a proxy before its first node.
    #[must_use]
    pub fn through(mut self, address: SocketAddr) -> Self {
        self.nodes.truncate(1);
        for node in &mut self.nodes {
            node.authority.host = address.ip().to_string();
            node.authority.port = address.port();
        }
        self
    }

    /// Who we are there.
    pub fn user(&self) -> &str {
        &self.any().authority.userinfo.username
    }

    pub fn vhost(&self) -> &str {
        &self.any().vhost
    }

    /// Host and port of each node, for people.
    pub fn address(&self) -> String {
        self.nodes.iter().map(host_and_port).collect::<Vec<_>>().join(",")
    }

    /// Whether it is reached by `amqps://`.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.any().scheme == AMQPScheme::AMQPS
    }

    /// Whom we trust there, and who we are.
    pub(crate) const fn tls(&self) -> &TlsFiles {
        &self.tls
    }

    /// How many nodes it names; at least one.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// One of its nodes; behind the last comes the first again.
    pub(crate) fn node(&self, number: usize) -> AMQPUri {
        self.nodes[number % self.nodes.len()].clone()
    }

    /// For what is the same on all nodes.
    fn any(&self) -> &AMQPUri {
        &self.nodes[0]
    }
}

pub(crate) fn host_and_port(node: &AMQPUri) -> String {
    format!("{}:{}", node.authority.host, node.authority.port)
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Endpoint({} vhost {})", self.address(), self.vhost())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_host_port_and_virtual_host() {
        let endpoint = Endpoint::parse("amqp://u:p@broker:5673/vostro").expect("valid");
        assert_eq!((endpoint.address().as_str(), endpoint.vhost()), ("broker:5673", "vostro"));
        let elsewhere = endpoint.with_vhost("x").with_login("v", "q");
        assert_eq!((elsewhere.address().as_str(), elsewhere.vhost(), elsewhere.user()), ("broker:5673", "x", "v"));
    }

    #[test]
    fn the_nodes_of_a_cluster_have_one_user_and_one_virtual_host() {
        let endpoint = Endpoint::parse("amqp://u:p@a:1,b:2/x").expect("valid").with_vhost("v").with_login("w", "q");
        assert_eq!(endpoint.address(), "a:1,b:2");
        let places = [0, 1, 2].map(|number| {
            let node = endpoint.node(number);
            (host_and_port(&node), node.vhost, node.authority.userinfo.username)
        });
        assert_eq!(places, ["a:1", "b:2", "a:1"].map(|place| (place.to_owned(), "v".to_owned(), "w".to_owned())));
    }

    #[test]
    fn neither_errors_nor_debug_output_show_the_password() {
        let endpoint = Endpoint::parse("amqp://u:geheim@broker").expect("valid");
        assert!(!format!("{endpoint:?}").contains("geheim"));
        for wrong in ["http://u:geheim@broker", "amqp:geheim", "geheim", "amqp://u:geheim@a:1,b:x"] {
            let error = Endpoint::parse(wrong).expect_err("invalid").to_string();
            assert!(!error.contains("geheim"), "{error}");
        }
    }
}
