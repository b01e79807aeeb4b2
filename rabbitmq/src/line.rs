use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lapin::tcp::{AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use tokio::time::timeout;

/// A second hold on a connection's socket, to end it whatever the client is waiting for.
///
/// lapin runs a thread per connection, and that thread goes on waiting when the broker is silent (frozen, unplugged) in
/// the middle of the handshake or of closing: each attempt to reconnect would leave one behind. Shutting the socket down
/// ends the thread at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line(Arc<OnceLock<TcpStream>>);

impl Line {
    /// Connects to the broker within a limit.
    pub(crate) async fn connect(
        uri: AMQPUri,
        properties: ConnectionProperties,
        limit: Duration,
    ) -> Result<(Connection, Self), String> {
        let line = Self::default();
        let runtime = lapin::runtime::default_runtime().map_err(|error| error.to_string())?;
        let held = line.clone();
        let connector = Connection::connector(
            uri,
            runtime,
            async move |uri: AMQPUri, runtime| {
                let addresses = tokio::net::lookup_host((uri.authority.host.as_str(), uri.authority.port));
                let addresses: Vec<_> = timeout(limit, addresses).await.map_err(io::Error::from)??.collect();
                let connecting = AsyncTcpStream::connect(&runtime, addresses);
                let stream = timeout(limit, connecting).await.map_err(io::Error::from)??;
                if let AsyncTcpStream::Plain(plain) = &stream {
                    let socket = plain.get_ref().as_fd().try_clone_to_owned()?;
                    let _ = held.0.set(TcpStream::from(socket));
                }
                match uri.scheme {
                    AMQPScheme::AMQP => Ok(stream),
                    AMQPScheme::AMQPS => {
                        Ok(stream.into_tls(&uri.authority.host, OwnedTLSConfig::default().as_ref()).await?)
                    }
                }
            },
            properties,
        );
        let failure = match timeout(limit, connector).await {
            Ok(Ok(connection)) => return Ok((connection, line)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no connection within {} s", limit.as_secs()),
        };
        line.cut();
        Err(failure)
    }

    /// Ends the connection without a word to the broker.
    pub(crate) fn cut(&self) {
        if let Some(socket) = self.0.get() {
            // It fails when the other side was first.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
