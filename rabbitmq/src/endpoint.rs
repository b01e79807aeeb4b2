use std::fmt;
use std::net::SocketAddr;

use lapin::uri::{AMQPUri, AMQPUserInfo};

/// Where the broker is and who we are there. Its `Debug` output holds no password.
#[derive(Clone)]
pub struct Endpoint {
    uri: AMQPUri,
}

/// The broker's address in the configuration is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an AMQP address (amqp://user:password@host:port/vhost): {0}")]
pub struct InvalidEndpoint(String);

impl Endpoint {
    /// A peer that is silent for twice this many seconds is gone.
    const HEARTBEAT_SECONDS: u16 = 10;
    /// lapin keeps 32 frames of buffer in each direction of each connection; the default of 128 KiB per frame would cost
    /// 8 MiB per connection. Most messages fit in one frame of this size (bytes); a larger one is split and costs no more.
    const FRAME_MAX: u32 = 32 * 1024;

    /// Reads `amqp://user:password@host:port/vhost` or `amqps://…`; without a path the virtual host is `/`.
    ///
    /// # Errors
    /// [`InvalidEndpoint`]; the text does not repeat the address, which holds a password.
    pub fn parse(url: &str) -> Result<Self, InvalidEndpoint> {
        let mut uri: AMQPUri = url.parse().map_err(|error: String| {
            InvalidEndpoint(if error.contains(url) { "it cannot be read".to_owned() } else { error })
        })?;
        uri.query.heartbeat = Some(Self::HEARTBEAT_SECONDS);
        uri.query.frame_max = Some(uri.query.frame_max.unwrap_or(Self::FRAME_MAX));
        Ok(Self { uri })
    }

    /// The same broker and user, another virtual host.
    #[must_use]
    pub fn with_vhost(mut self, vhost: &str) -> Self {
        vhost.clone_into(&mut self.uri.vhost);
        self
    }

    /// The same broker, somebody else.
    #[must_use]
    pub fn with_login(mut self, user: &str, password: &str) -> Self {
        self.uri.authority.userinfo = AMQPUserInfo { username: user.to_owned(), password: password.to_owned() };
        self
    }

    /// The same broker on another way, such as a proxy.
    #[must_use]
    pub fn through(mut self, address: SocketAddr) -> Self {
        self.uri.authority.host = address.ip().to_string();
        self.uri.authority.port = address.port();
        self
    }

    /// Who we are there.
    pub fn user(&self) -> &str {
        &self.uri.authority.userinfo.username
    }

    pub fn vhost(&self) -> &str {
        &self.uri.vhost
    }

    /// Host and port, for people.
    pub fn address(&self) -> String {
        format!("{}:{}", self.uri.authority.host, self.uri.authority.port)
    }

    pub(crate) fn uri(&self) -> AMQPUri {
        self.uri.clone()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Endpoint({} vhost {})", self.address(), self.uri.vhost)
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
    fn neither_errors_nor_debug_output_show_the_password() {
        let endpoint = Endpoint::parse("amqp://u:geheim@broker").expect("valid");
        assert!(!format!("{endpoint:?}").contains("geheim"));
        for wrong in ["http://u:geheim@broker", "amqp:geheim", "geheim"] {
            let error = Endpoint::parse(wrong).expect_err("invalid").to_string();
            assert!(!error.contains("geheim"), "{error}");
        }
    }
}
