use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use vostro_rabbitmq::Endpoint;
use vostro_rabbitmq::testing::{AMQP_URL, TestBroker};
use vostro_rabbitmq::topology::user_name;

/// A stretch of network between a client and the broker that a test can cut, block and speak into.
pub struct Proxy {
    /// As an administrator.
    pub endpoint: Endpoint,
    /// As the user of auth, who publishes.
    pub publishing: Endpoint,
    faults: broadcast::Sender<Fault>,
    swallowing: Arc<watch::Sender<bool>>,
    _stop: DropGuard,
}

#[derive(Clone, Debug)]
enum Fault {
    /// Ends every connection.
    Cut,
    /// Says something to every client in the broker's name.
    Say(Vec<u8>),
}

impl Proxy {
    pub async fn to(broker: &TestBroker) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let mut url: reqwest::Url = std::env::var(AMQP_URL).expect("set").parse().expect("an address");
        let target = (url.host_str().expect("a host").to_owned(), url.port().unwrap_or(5672));
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(port)).expect("a port");
        let endpoint = Endpoint::parse(url.as_str()).expect("an address").with_vhost(&broker.vhost);
        let target: SocketAddr =
            tokio::net::lookup_host(target).await.expect("the broker's host").next().expect("an address");
        let stop = CancellationToken::new();
        let (faults, swallowing) = (broadcast::Sender::new(16), Arc::new(watch::Sender::new(false)));
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(
            listener,
            target,
            faults.clone(),
            swallowing.clone(),
        )));
        let password = broker.passwords().of("auth").expect("auth is a module of these tests");
        let publishing = endpoint.clone().with_login(&user_name(&broker.vhost, "auth"), password);
        Self { endpoint, publishing, faults, swallowing, _stop: stop.drop_guard() }
    }

    /// Ends every connection; the number of connections there were.
    pub fn cut(&self) -> usize {
        self.faults.send(Fault::Cut).unwrap_or(0)
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.faults.receiver_count()
    }

    /// From now on, what clients send does not arrive, and no end of a connection is reported to anybody.
    pub fn swallow(&self, swallow: bool) {
        self.swallowing.send_replace(swallow);
    }

    /// Tells the clients that the broker accepts no messages, as it does under a memory alarm.
    pub fn block(&self) {
        let mut arguments = vec![13];
        arguments.extend(b"low on memory");
        self.say(60, &arguments);
    }

    pub fn unblock(&self) {
        self.say(61, &[]);
    }

    /// A method of AMQP's class `connection`, in a frame on channel 0.
    fn say(&self, method: u16, arguments: &[u8]) {
        let size = u32::try_from(4 + arguments.len()).expect("short");
        let mut frame = vec![1, 0, 0];
        frame.extend(size.to_be_bytes());
        frame.extend(10_u16.to_be_bytes());
        frame.extend(method.to_be_bytes());
        frame.extend(arguments);
        frame.push(0xCE);
        self.faults.send(Fault::Say(frame)).expect("a client to say it to");
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    faults: broadcast::Sender<Fault>,
    swallowing: Arc<watch::Sender<bool>>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(target).await else { continue };
        tokio::spawn(carry(client, server, faults.subscribe(), swallowing.subscribe()));
    }
}

async fn carry(
    client: TcpStream,
    server: TcpStream,
    mut faults: broadcast::Receiver<Fault>,
    swallowing: watch::Receiver<bool>,
) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (mut upwards, mut downwards) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        let carried = tokio::select! {
            fault = faults.recv() => match fault {
                Ok(Fault::Say(frame)) => to_client.write_all(&frame).await,
                _ => return,
            },
            read = from_client.read(&mut upwards) => match read {
                Ok(count) if count > 0 && *swallowing.borrow() => Ok(()),
                Ok(count) if count > 0 => to_server.write_all(&upwards[..count]).await,
                _ => return,
            },
            read = from_server.read(&mut downwards) => match read {
                Ok(count) if count > 0 => to_client.write_all(&downwards[..count]).await,
                _ => return,
            },
        };
        if carried.is_err() {
            return;
        }
    }
}
