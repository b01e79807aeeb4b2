use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lapin::tcp::{AsyncTcpStream, RustlsConnector};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use tokio::time::timeout;

use crate::certificates::show_presented;
use crate::endpoint::host_and_port;
use crate::{TlsFault, TlsFiles};

/// A second hold on a connection's socket, to end it whatever the client is waiting for.
///
/// lapin runs a thread per connection, and that thread goes on waiting when the broker is silent (frozen, unplugged) in
/// the middle of the handshake or of closing: each attempt to reconnect would leave one behind. Shutting the socket down
/// ends the thread at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line(Arc<OnceLock<TcpStream>>);

impl Line {
    /// Connects to the broker within a limit, by `amqps://` with the files as they are now.
    pub(crate) async fn connect(
        uri: AMQPUri,
        tls: &TlsFiles,
        properties: ConnectionProperties,
        limit: Duration,
    ) -> Result<(Connection, Self), String> {
        let line = Self::default();
        let runtime = lapin::runtime::default_runtime().map_err(|error| error.to_string())?;
        let held = line.clone();
        let secured = match uri.scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(secured_by(tls).await.map_err(|fault| fault.to_string())?),
        };
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
                let Some(secured) = &secured else { return Ok(stream) };
                let stream = stream.into_rustls(secured, &uri.authority.host).await?;
                if let AsyncTcpStream::Rustls(tls) = &stream {
                    show_presented(host_and_port(&uri), tls.get_ref().1.peer_certificates());
                }
                Ok(stream)
            },
            properties,
        );
        let failure = match timeout(limit, connector).await {
            Ok(Ok(connection)) => return Ok((connection, line)),
            Ok(Err(error)) => TlsFault::behind(&error).map_or_else(|| error.to_string(), |fault| fault.to_string()),
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

async fn secured_by(files: &TlsFiles) -> Result<RustlsConnector, TlsFault> {
    Ok(files.read().await?.client_config()?.into())
}
