use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A stretch of network between clients and a server that a test can cut, delay, block and speak into.
///
/// It knows no protocol, so it stands before a broker or a database. New connections are accepted in every weather.
pub struct Proxy {
    address: SocketAddr,
    target: Arc<watch::Sender<SocketAddr>>,
    faults: broadcast::Sender<Fault>,
    weather: Arc<watch::Sender<Weather>>,
    trap: Arc<Mutex<Option<Trap>>>,
    _stop: DropGuard,
}

#[derive(Clone, Debug)]
enum Fault {
    Cut,
    Say(Vec<u8>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Weather {
    delay: Duration,
    swallows: bool,
    holds: bool,
}

/// What [`Proxy::cut_at`] waits for.
struct Trap {
    words: Vec<u8>,
    passings: usize,
    moment: Moment,
}

/// When a connection is cut at words that a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The server never hears them.
    BeforeTheyArrive,
    /// The server has heard and answered them; the client never hears the answer.
    BeforeTheAnswer,
}

impl Proxy {
    /// Listens at a port of its own and passes on to `target`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let (faults, weather) = (broadcast::Sender::new(16), Arc::new(watch::Sender::new(Weather::default())));
        let trap = Arc::new(Mutex::new(None));
        let target = Arc::new(watch::Sender::new(target));
        let accepting = accept(listener, Arc::clone(&target), faults.clone(), Arc::clone(&weather), Arc::clone(&trap));
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Self { address, target, faults, weather, trap, _stop: stop.drop_guard() }
    }

    /// Passes new connections on to somewhere else, as an address does that moves to a standby.
    pub fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(target);
    }

    /// Where clients find it.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.faults.receiver_count()
    }

    /// Ends every connection; the number of connections there were.
    pub fn cut(&self) -> usize {
        self.faults.send(Fault::Cut).unwrap_or(0)
    }

    /// What is said from now on arrives this much later, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// From now on, what clients send does not arrive; what the server says does.
    pub fn swallow(&self, swallows: bool) {
        self.weather.send_modify(|weather| weather.swallows = swallows);
    }

    /// From now on nothing passes in either direction, not even the end of a connection: packets are dropped and nobody is
    /// told. What was sent meanwhile arrives afterwards, as it does when TCP sends it again.
    pub fn black_hole(&self, holds: bool) {
        self.weather.send_modify(|weather| weather.holds = holds);
    }

    /// Says something to every client in the server's name.
    ///
    /// # Panics
    /// When there is no client.
    pub fn say(&self, words: Vec<u8>) {
        self.faults.send(Fault::Say(words)).expect("a client to say it to");
    }

    /// Cuts the connection on which some client says `words` for the `passings`-th time from now on, at that moment. Words
    /// are recognised when they are sent in one piece.
    pub fn cut_at(&self, words: &[u8], passings: usize, moment: Moment) {
        *self.trap.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Trap { words: words.to_vec(), passings, moment });
    }

    /// Whether what [`Self::cut_at`] waited for has come.
    pub fn has_cut(&self) -> bool {
        self.trap.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

async fn accept(
    listener: TcpListener,
    target: Arc<watch::Sender<SocketAddr>>,
    faults: broadcast::Sender<Fault>,
    weather: Arc<watch::Sender<Weather>>,
    trap: Arc<Mutex<Option<Trap>>>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let target = *target.borrow();
        let Ok(server) = TcpStream::connect(target).await else { continue };
        let line = Line { weather: weather.subscribe(), trap: Arc::clone(&trap) };
        tokio::spawn(line.carry(client, server, faults.subscribe()));
    }
}

/// One connection through the proxy.
struct Line {
    weather: watch::Receiver<Weather>,
    trap: Arc<Mutex<Option<Trap>>>,
}

impl Line {
    async fn carry(mut self, client: TcpStream, server: TcpStream, mut faults: broadcast::Receiver<Fault>) {
        // Small messages are what tests send, and a delay is to be the proxy's own.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        let (mut upwards, mut downwards) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        loop {
            let weather = *self.weather.borrow_and_update();
            let carried = tokio::select! {
                fault = faults.recv() => match fault {
                    Ok(Fault::Say(words)) => to_client.write_all(&words).await,
                    _ => return,
                },
                changed = self.weather.changed() => match changed {
                    Ok(()) => Ok(()),
                    Err(_) => return,
                },
                read = from_client.read(&mut upwards), if !weather.holds => match read {
                    Ok(count) if count > 0 && weather.swallows => Ok(()),
                    Ok(count) if count > 0 => {
                        let said = &upwards[..count];
                        match self.sprung(said) {
                            None => pass(said, weather.delay, &mut to_server).await,
                            Some(Moment::BeforeTheyArrive) => return,
                            Some(Moment::BeforeTheAnswer) => {
                                return until_answered(said, &mut to_server, &mut from_server).await;
                            }
                        }
                    }
                    _ => return,
                },
                read = from_server.read(&mut downwards), if !weather.holds => match read {
                    Ok(count) if count > 0 => pass(&downwards[..count], weather.delay, &mut to_client).await,
                    _ => return,
                },
            };
            if carried.is_err() {
                return;
            }
        }
    }

    /// When to cut, if these words are those that are waited for.
    fn sprung(&self, said: &[u8]) -> Option<Moment> {
        let mut trap = self.trap.lock().unwrap_or_else(PoisonError::into_inner);
        let Trap { words, passings, moment } = trap.as_mut()?;
        let moment = *moment;
        let passed = said.windows(words.len()).filter(|window| window == words).count();
        if passed < *passings {
            *passings -= passed;
            return None;
        }
        *trap = None;
        Some(moment)
    }
}

async fn pass(said: &[u8], delay: Duration, to: &mut OwnedWriteHalf) -> std::io::Result<()> {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    to.write_all(said).await
}

/// The client's side stays open until then: whoever closes first tells the client no sooner.
async fn until_answered(said: &[u8], to_server: &mut OwnedWriteHalf, from_server: &mut OwnedReadHalf) {
    if to_server.write_all(said).await.is_ok() {
        // Whether it answers or goes, it has heard what it could hear.
        let _ = from_server.read(&mut [0; 1024]).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says everything back.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn said_back(client: &mut TcpStream, words: &[u8]) -> Option<Vec<u8>> {
        client.write_all(words).await.ok()?;
        let mut answer = vec![0; words.len()];
        client.read_exact(&mut answer).await.ok()?;
        Some(answer)
    }

    async fn line() -> (Proxy, TcpStream) {
        let proxy = Proxy::to(echo().await).await;
        let mut client = TcpStream::connect(proxy.address()).await.expect("it listens");
        assert_eq!(said_back(&mut client, b"hello").await.as_deref(), Some(&b"hello"[..]));
        (proxy, client)
    }

    async fn nothing_comes(client: &mut TcpStream) -> bool {
        tokio::time::timeout(Duration::from_millis(200), client.read_u8()).await.is_err()
    }

    #[tokio::test]
    async fn a_cut_ends_the_connections_there_are_and_new_ones_are_carried() {
        let (proxy, mut client) = line().await;
        assert_eq!(proxy.cut(), 1);
        assert!(client.read_u8().await.is_err(), "the connection has ended");
        let mut next = TcpStream::connect(proxy.address()).await.expect("it listens");
        assert!(said_back(&mut next, b"again").await.is_some());
    }

    #[tokio::test]
    async fn a_black_hole_tells_nobody_anything_and_gives_everything_back() {
        let (proxy, mut client) = line().await;
        proxy.black_hole(true);
        client.write_all(b"x").await.expect("the sender notices nothing");
        assert!(nothing_comes(&mut client).await);
        assert_eq!(proxy.connections(), 1);
        proxy.black_hole(false);
        assert_eq!(client.read_u8().await.expect("it arrives late"), b'x');
    }

    #[tokio::test]
    async fn what_is_swallowed_never_arrives() {
        let (proxy, mut client) = line().await;
        proxy.swallow(true);
        client.write_all(b"x").await.expect("the sender notices nothing");
        assert!(nothing_comes(&mut client).await);
        proxy.swallow(false);
        assert_eq!(said_back(&mut client, b"y").await.as_deref(), Some(&b"y"[..]));
    }

    #[tokio::test]
    async fn what_is_delayed_arrives_that_much_later() {
        let (proxy, mut client) = line().await;
        proxy.delay(Duration::from_millis(150));
        let started = std::time::Instant::now();
        assert!(said_back(&mut client, b"slowly").await.is_some());
        assert!(started.elapsed() >= Duration::from_millis(300), "there and back");
    }

    #[tokio::test]
    async fn a_connection_is_cut_at_the_words_that_are_waited_for() {
        let (proxy, mut client) = line().await;
        proxy.cut_at(b"COMMIT", 2, Moment::BeforeTheAnswer);
        assert!(said_back(&mut client, b"COMMIT").await.is_some());
        assert!(!proxy.has_cut());
        assert!(said_back(&mut client, b"and COMMIT").await.is_none());
        assert!(proxy.has_cut());
        let mut next = TcpStream::connect(proxy.address()).await.expect("it listens");
        assert!(said_back(&mut next, b"COMMIT").await.is_some(), "once");
    }

    #[tokio::test]
    async fn what_the_server_says_in_the_proxys_words_arrives() {
        let (proxy, mut client) = line().await;
        proxy.say(b"!".to_vec());
        assert_eq!(client.read_u8().await.expect("said"), b'!');
    }
}
