use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A way to the broker that can be closed: connections through it break, and new ones are broken at once.
pub struct Gate {
    pub address: SocketAddr,
    open: watch::Sender<bool>,
    _forwarding: JoinSet<()>,
}

impl Gate {
    /// An open gate to `target` (host and port), on a port of its own.
    pub async fn to(target: String) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (open, is_open) = watch::channel(true);
        let mut forwarding = JoinSet::new();
        forwarding.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                lines.spawn(forward(near, target.clone(), is_open.clone()));
                while lines.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, open, _forwarding: forwarding })
    }

    pub fn close(&self) {
        self.open.send_replace(false);
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

async fn forward(mut near: TcpStream, target: String, mut is_open: watch::Receiver<bool>) {
    if !*is_open.borrow_and_update() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    // Small frames must not wait for each other on the way.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = is_open.wait_for(|open| !open) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_closed_gate_breaks_connections_and_an_open_one_carries_them() {
        let server = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let gate = Gate::to(server.local_addr().expect("an address").to_string()).await.expect("a port");
        let mut client = TcpStream::connect(gate.address).await.expect("accepted");
        let (mut far, _) = server.accept().await.expect("forwarded");
        client.write_all(b"x").await.expect("written");
        assert_eq!(far.read_u8().await.expect("carried"), b'x');
        gate.close();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap_or(0), 0, "broken");
        let mut refused = TcpStream::connect(gate.address).await.expect("accepted");
        assert_eq!(refused.read(&mut [0; 1]).await.unwrap_or(0), 0, "broken at once");
        gate.open();
        let _client = TcpStream::connect(gate.address).await.expect("accepted");
        server.accept().await.expect("forwarded again");
    }
}
