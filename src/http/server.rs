//! Serves routes over HTTP/1.1, and gives up on connections that never come to the end of a request's head.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// How long a connection may be without a complete head of a request, silent ones between two requests included. Longer
/// than the minute after which balancers close silent connections themselves, so that none sends into one that is closing.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// How long nothing is accepted after the system could not give a connection, as when too many files are open.
const BREATH: Duration = Duration::from_millis(200);

/// Serves until `stop` is cancelled; returns when every request that had begun is answered. Connections that became
/// WebSockets go on beside it, and are closed by whoever upgraded them.
pub async fn serve(listener: TcpListener, routes: Router, head_timeout: Duration, stop: CancellationToken) {
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(head_timeout);
    let open = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_the_clients(&error) => continue,
            Err(error) => {
                warn!(%error, "no connection can be accepted");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        // Answers are written whole: waiting for more to send with them only delays them.
        let _ = stream.set_nodelay(true);
        let routes = TowerToHyperService::new(routes.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(address));
            routes.call(request)
        });
        let connection = protocol.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let stop = stop.clone();
        open.spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    open.close();
    open.wait().await;
}

/// A connection that ended before it was accepted says nothing about the next one.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Instant;

    use axum::routing::{MethodRouter, get};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(300);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: bank\r\n\r\n";

    /// A server of one page, and what ends it.
    async fn server(page: MethodRouter) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        // No machine is so slow.
        server_with(page, PATIENCE * 400).await
    }

    async fn server_with(page: MethodRouter, patience: Duration) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (address, stop) = (listener.local_addr().expect("bound"), CancellationToken::new());
        let routes = Router::new().route("/", page);
        let serving = tokio::spawn(serve(listener, routes, patience, stop.clone()));
        (address, stop, serving)
    }

    async fn answer(stream: &mut TcpStream) -> String {
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer[..read]).into_owned()
    }

    #[tokio::test]
    async fn a_connection_is_used_for_several_requests_and_routes_know_who_asks() {
        let who = |ConnectInfo(address): ConnectInfo<SocketAddr>| async move { address.to_string() };
        let (address, ..) = server(get(who)).await;
        let mut stream = TcpStream::connect(address).await.expect("accepted");
        let us = stream.local_addr().expect("connected").to_string();
        for _ in 0..2 {
            stream.write_all(REQUEST).await.expect("sent");
            assert!(answer(&mut stream).await.ends_with(&us));
        }
    }

    #[tokio::test]
    async fn a_client_that_sends_its_head_drop_by_drop_is_given_up() {
        let (address, ..) = server_with(get(|| async { "answered" }), PATIENCE).await;
        let mut stream = TcpStream::connect(address).await.expect("accepted");
        let started = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\n").await.expect("sent");
        let mut rest = Vec::new();
        let dripping = async {
            loop {
                // Each drop comes in time, the whole never.
                tokio::time::sleep(PATIENCE / 5).await;
                if stream.write_all(b"x: y\r\n").await.is_err() {
                    return;
                }
                let mut byte = [0];
                if let Ok(read) = stream.try_read(&mut byte) {
                    if read == 0 {
                        return;
                    }
                    rest.push(byte[0]);
                }
            }
        };
        tokio::time::timeout(PATIENCE * 100, dripping).await.expect("the connection is closed");
        assert!(started.elapsed() >= PATIENCE, "not before it has had its time");
        assert!(!String::from_utf8_lossy(&rest).contains("answered"));
    }

    #[tokio::test]
    async fn what_has_begun_is_answered_before_serving_ends_and_nothing_new_is_accepted() {
        let (begun, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let page = {
            let (begun, released) = (Arc::clone(&begun), Arc::clone(&released));
            move || async move {
                begun.notify_one();
                released.notified().await;
                "answered"
            }
        };
        let (address, stop, serving) = server(get(page)).await;
        let mut stream = TcpStream::connect(address).await.expect("accepted");
        stream.write_all(REQUEST).await.expect("sent");
        begun.notified().await;
        stop.cancel();
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!serving.is_finished(), "it waits for the one that has begun");
        released.notify_one();
        assert!(answer(&mut stream).await.ends_with("answered"));
        serving.await.expect("it ends though the client keeps the connection");
    }
}
