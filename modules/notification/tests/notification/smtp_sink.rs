//! A mail server for tests: speaks enough SMTP for a real client, keeps what it gets, and misbehaves when told to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What the server does with one e-mail.
#[derive(Debug, Clone, Copy)]
pub enum Reaction {
    Accept,
    /// Refuses the recipient with this code.
    AtRecipient(u16),
    /// Refuses the finished text with this code.
    AfterText(u16),
    /// Takes the text and never answers.
    Silent,
    /// Takes the text and hangs up without an answer.
    HangUp,
}

#[derive(Debug, Clone)]
pub struct Received {
    pub from: String,
    pub to: Vec<String>,
    pub text: String,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        self.text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default().trim_end()
    }
}

pub struct SmtpSink {
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    plan: Mutex<VecDeque<Reaction>>,
    accepted: Mutex<Vec<Received>>,
    connections: Mutex<usize>,
    arrived: Notify,
    /// What a client has to log in with, as `AUTH PLAIN` says it.
    login: Option<&'static str>,
}

impl SmtpSink {
    /// Reacts to the first e-mails as planned, and accepts all others.
    pub async fn start(plan: &[Reaction]) -> Self {
        let plan = Mutex::new(plan.iter().copied().collect());
        Self::serving(Shared { plan, ..Shared::default() }).await
    }

    /// Takes mail from clients that log in with these credentials only, given as `AUTH PLAIN` writes them.
    pub async fn with_login(login: &'static str) -> Self {
        Self::serving(Shared { login: Some(login), ..Shared::default() }).await
    }

    async fn serving(shared: Shared) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(shared);
        tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    *shared.connections.lock().expect("unpoisoned") += 1;
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move {
                        // A client may hang up at any time.
                        let _ = serve(stream, &shared).await;
                    });
                }
            }
        });
        Self { port, shared }
    }

    pub fn accepted(&self) -> Vec<Received> {
        self.shared.accepted.lock().expect("unpoisoned").clone()
    }

    pub fn connections(&self) -> usize {
        *self.shared.connections.lock().expect("unpoisoned")
    }

    /// How many planned reactions no e-mail has met yet.
    pub fn reactions_left(&self) -> usize {
        self.shared.plan.lock().expect("unpoisoned").len()
    }

    /// Waits until this many e-mails were accepted.
    pub async fn until_accepted(&self, count: usize) -> Vec<Received> {
        loop {
            let arrived = self.shared.arrived.notified();
            let accepted = self.accepted();
            if accepted.len() >= count {
                return accepted;
            }
            arrived.await;
        }
    }
}

async fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 sink\r\n").await?;
    let mut logged_in = shared.login.is_none();
    let (mut from, mut to, mut reaction) = (String::new(), Vec::new(), Reaction::Accept);
    while let Some(line) = lines.next_line().await? {
        let upper = line.to_ascii_uppercase();
        let reply = if upper.starts_with("EHLO") {
            let login = if shared.login.is_some() { "250-AUTH PLAIN\r\n" } else { "" };
            format!("250-sink\r\n{login}250-8BITMIME\r\n250 SMTPUTF8")
        } else if let Some(login) = line.strip_prefix("AUTH PLAIN ") {
            logged_in = shared.login == Some(login);
            if logged_in { "235 welcome".to_owned() } else { "535 not you".to_owned() }
        } else if !logged_in && upper.starts_with("MAIL FROM:") {
            "530 log in first".to_owned()
        } else if upper.starts_with("MAIL FROM:") {
            from = address(&line);
            to.clear();
            reaction = shared.plan.lock().expect("unpoisoned").pop_front().unwrap_or(Reaction::Accept);
            "250 ok".to_owned()
        } else if upper.starts_with("RCPT TO:") {
            to.push(address(&line));
            match reaction {
                Reaction::AtRecipient(code) => format!("{code} {} is not welcome", address(&line)),
                _ => "250 ok".to_owned(),
            }
        } else if upper == "DATA" {
            write.write_all(b"354 go on\r\n").await?;
            let mut text = String::new();
            while let Some(line) = lines.next_line().await? {
                if line == "." {
                    break;
                }
                text.push_str(line.strip_prefix('.').unwrap_or(&line));
                text.push('\n');
            }
            match reaction {
                Reaction::AfterText(code) => format!("{code} not this one, {}", to.join(" ")),
                Reaction::Silent => std::future::pending().await,
                Reaction::HangUp => return Ok(()),
                Reaction::Accept | Reaction::AtRecipient(_) => {
                    let mail = Received { from: from.clone(), to: to.clone(), text };
                    shared.accepted.lock().expect("unpoisoned").push(mail);
                    shared.arrived.notify_waiters();
                    "250 taken".to_owned()
                }
            }
        } else if upper == "QUIT" {
            write.write_all(b"221 bye\r\n").await?;
            return Ok(());
        } else {
            "250 ok".to_owned()
        };
        write.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
    Ok(())
}

fn address(line: &str) -> String {
    line.split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map(|(address, _)| address.to_owned())
        .unwrap_or_default()
}
