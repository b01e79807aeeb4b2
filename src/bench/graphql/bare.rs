use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bench::figures::{histogram, micros};

/// How long the bytes may take to reach everybody before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The yardstick of the subscribers: as many bytes written to as many connections by somebody who does nothing else.
pub struct Bare {
    pub connections: u32,
    /// Microseconds from the beginning to each reader's having read them.
    pub latency: Histogram<u64>,
}

/// Both ends of each connection are in this process, each a task of its own, as they are in the bank and its clients.
pub async fn bare(connections: u32, events: u32, bytes: usize) -> anyhow::Result<Bare> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let (tell, told) = watch::channel(());
    let (read, mut reads) = mpsc::unbounded_channel();
    let text: Arc<[u8]> = vec![b'x'; bytes].into();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let near = TcpStream::connect(address).await?;
        let (far, _) = listener.accept().await?;
        far.set_nodelay(true)?;
        tasks.spawn(write(far, told.clone(), Arc::clone(&text)));
        tasks.spawn(listen(near, bytes, read.clone()));
    }
    let mut latency = histogram();
    for _ in 0..events {
        let began = Instant::now();
        tell.send_replace(());
        for _ in 0..connections {
            let at = match tokio::time::timeout(PATIENCE, reads.recv()).await {
                Ok(Some(at)) => at,
                _ => bail!("bytes on a bare connection have not arrived"),
            };
            latency.saturating_record(micros(Instant::duration_since(&at, began)));
        }
    }
    tasks.shutdown().await;
    Ok(Bare { connections, latency })
}

async fn write(mut stream: TcpStream, mut told: watch::Receiver<()>, text: Arc<[u8]>) -> anyhow::Result<()> {
    loop {
        told.changed().await?;
        stream.write_all(&text).await?;
    }
}

async fn listen(mut stream: TcpStream, bytes: usize, read: mpsc::UnboundedSender<Instant>) -> anyhow::Result<()> {
    let mut text = vec![0; bytes];
    loop {
        stream.read_exact(&mut text).await?;
        read.send(Instant::now()).context("nobody counts any more")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_reads_everything() {
        let bare = bare(7, 3, 400).await.expect("measured");
        assert_eq!((bare.connections, bare.latency.len()), (7, 21));
    }
}
