use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::Utc;
use futures::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Confirmation, Consumer};
use metrics::counter;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;
use uuid::Uuid;
use vostro_messaging::rpc::{CallError, Caller, Reply, Request};

use super::wire::{self, REPLIES, exchange_of};
use crate::Supervisor;
use crate::message::short;
use crate::session::Session;

/// Asks other modules in the name of one. Questions and replies travel on two connections: one that the broker blocks
/// because it takes no messages can still receive.
pub struct AmqpCaller {
    module: String,
    questions: Supervisor,
    replies: Supervisor,
    line: tokio::sync::Mutex<Option<Arc<Line>>>,
}

type Answer = Result<Reply, CallError>;

/// One pair of channels and whoever waits for a reply on it.
struct Line {
    questions: Arc<Session>,
    replies: Arc<Session>,
    channel: Channel,
    reply_queue: String,
    waiting: Arc<Waiting>,
    /// The broker may go on refusing on a channel that has been refused something (see [`crate::AmqpPublisher`]).
    has_refused: AtomicBool,
    /// Ends the listening, and with it the reply queue and its channel, when the line is given up because its other half is
    /// broken.
    _listening: DropGuard,
}

/// Questions without a reply yet.
#[derive(Default)]
struct Waiting {
    questions: Mutex<HashMap<Uuid, (&'static str, oneshot::Sender<Answer>)>>,
    /// A deadline has passed and no reply has come since: the reply queue may have lost its binding, of which the broker
    /// tells nobody.
    may_be_deaf: AtomicBool,
}

impl Waiting {
    fn add(&self, id: Uuid, callee: &'static str) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).insert(id, (callee, answer));
        answered
    }

    /// Takes out whoever waits for the question, if the sender may answer it.
    fn take(&self, id: Uuid, sender: Option<&str>) -> Option<oneshot::Sender<Answer>> {
        let mut waiting = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        match sender {
            Some(sender) if waiting.get(&id).is_some_and(|(callee, _)| *callee != sender) => None,
            _ => waiting.remove(&id).map(|(_, answer)| answer),
        }
    }

    fn forget_all(&self) {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Forgets a question when nobody waits for its reply any more, however that came about.
struct Asked<'a> {
    id: Uuid,
    waiting: &'a Waiting,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.waiting.take(self.id, None);
    }
}

impl AmqpCaller {
    /// Both connections are logged in as the module's user. Nothing is opened before the first question.
    pub fn new(module: &str, questions: Supervisor, replies: Supervisor) -> Self {
        Self { module: module.to_owned(), questions, replies, line: tokio::sync::Mutex::default() }
    }

    async fn line(&self) -> Result<Arc<Line>, String> {
        let mut line = self.line.lock().await;
        if let Some(open) = line.as_ref().filter(|line| line.is_open()) {
            return Ok(Arc::clone(open));
        }
        *line = None;
        let opened = Arc::new(self.open().await?);
        *line = Some(Arc::clone(&opened));
        Ok(opened)
    }

    async fn open(&self) -> Result<Line, String> {
        let replies = self.replies.session().await?;
        let (reply_queue, consumer) = self.open_reply_queue(&replies).await?;
        let questions = self.questions.session().await?;
        let channel = questions.open_channel().await?;
        questions.demand("asking for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let waiting = Arc::new(Waiting::default());
        let vhost = self.replies.endpoint().vhost().to_owned();
        let unused = CancellationToken::new();
        let ear =
            Ear { module: self.module.clone(), vhost, session: Arc::clone(&replies), waiting: Arc::clone(&waiting) };
        tokio::spawn(ear.listen(consumer, unused.clone()));
        let has_refused = AtomicBool::new(false);
        Ok(Line { questions, replies, channel, reply_queue, waiting, has_refused, _listening: unused.drop_guard() })
    }

    async fn open_reply_queue(&self, session: &Session) -> Result<(String, Consumer), String> {
        let name = wire::reply_queue(&self.module);
        let queue = short(&name)?;
        let channel = session.open_channel().await?;
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
        // A refusal ends the channel alone; there may be consumers on the connection who have nothing to do with this.
        let demand = |answer: Result<lapin::Result<()>, String>| {
            answer.and_then(|done| done.map_err(|error| format!("the reply queue: {error}")))
        };
        let declare = async { channel.queue_declare(queue.clone(), options, arguments).await.map(drop) };
        demand(session.attempt(declare).await)?;
        let bind = channel.queue_bind(
            queue.clone(),
            REPLIES.into(),
            queue.clone(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        demand(session.attempt(bind).await)?;
        let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..BasicConsumeOptions::default() };
        let consume = channel.basic_consume(queue.clone(), queue, options, FieldTable::default());
        let consumer = session.attempt(consume).await?.map_err(|error| format!("the reply queue: {error}"))?;
        Ok((name, consumer))
    }
}

impl Line {
    fn is_open(&self) -> bool {
        let is_broken = self.questions.is_over() || self.replies.is_over() || !self.channel.status().connected();
        let is_doubtful = self.waiting.may_be_deaf.load(Ordering::Relaxed) || self.has_refused.load(Ordering::Relaxed);
        !is_broken && !is_doubtful
    }

    async fn call(&self, request: Request, user: &str) -> Answer {
        let unavailable = CallError::Unavailable;
        if let Some(reason) = self.questions.blocked() {
            return Err(unavailable(format!("the broker accepts no messages: {reason}")));
        }
        let properties = wire::question(&request, Utc::now(), &self.reply_queue, user).map_err(unavailable)?;
        let exchange = short(&exchange_of(request.callee)).map_err(unavailable)?;
        let key = short(request.query).map_err(unavailable)?;
        let mut answered = self.waiting.add(request.id, request.callee);
        let _asked = Asked { id: request.id, waiting: &self.waiting };
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let taken = async {
            let confirm = self.channel.basic_publish(exchange, key, options, &request.body, properties).await?;
            confirm.await
        };
        // The reply may be here before the broker's confirm.
        let taken = tokio::select! {
            biased;
            answer = &mut answered => return answer.unwrap_or_else(|_| Err(self.lost())),
            () = self.replies.over() => return Err(self.lost()),
            taken = taken => taken,
        };
        match taken {
            Ok(Confirmation::Ack(None)) => {}
            // lapin can hand a returned message to the wrong publisher when several are under way: it belongs to whose id
            // it carries.
            Ok(Confirmation::Ack(Some(returned))) => self.refuse_unroutable(&returned.delivery.properties),
            Ok(_) => {
                self.has_refused.store(true, Ordering::Relaxed);
                return Err(unavailable(
                    "the broker refused the question: the callee's queue is full or moving".to_owned(),
                ));
            }
            Err(error) => return Err(unavailable(error.to_string())),
        }
        tokio::select! {
            answer = answered => answer.unwrap_or_else(|_| Err(self.lost())),
            () = self.replies.over() => Err(self.lost()),
            () = self.questions.over() => Err(self.lost()),
        }
    }

    fn refuse_unroutable(&self, returned: &lapin::BasicProperties) {
        let id = returned.correlation_id().as_ref().and_then(|id| id.as_str().parse().ok());
        if let Some(answer) = id.and_then(|id| self.waiting.take(id, None)) {
            let _ = answer.send(Err(CallError::Unroutable));
        }
    }

    fn lost(&self) -> CallError {
        let session = if self.replies.is_over() { &self.replies } else { &self.questions };
        CallError::Unavailable(session.reason())
    }
}

#[async_trait]
impl Caller for AmqpCaller {
    async fn call(&self, request: Request) -> Answer {
        let left = (request.deadline - Utc::now()).to_std().map_err(|_| CallError::DeadlineExceeded)?;
        let user = self.questions.endpoint().user();
        let mut asked_on = None;
        let answer = async {
            let line = self.line().await.map_err(CallError::Unavailable)?;
            asked_on.insert(line).call(request, user).await
        };
        tokio::time::timeout(left, answer).await.unwrap_or_else(|_| {
            if let Some(line) = asked_on {
                // The next question is asked over a new one, unless a reply comes before it.
                line.waiting.may_be_deaf.store(true, Ordering::Relaxed);
            }
            Err(CallError::DeadlineExceeded)
        })
    }
}

/// Takes in what comes to a reply queue.
struct Ear {
    module: String,
    vhost: String,
    session: Arc<Session>,
    waiting: Arc<Waiting>,
}

impl Ear {
    /// Hands replies to those who wait for them until the connection ends, when nobody needs to wait any longer, or
    /// until the line is not used any more. The queue goes with its consumer.
    async fn listen(self, mut consumer: Consumer, unused: CancellationToken) {
        loop {
            let item = tokio::select! {
                item = consumer.next() => item,
                () = self.session.over() => None,
                () = unused.cancelled() => return,
            };
            let Some(Ok(delivery)) = item else { break };
            take_in(&self.module, &self.vhost, delivery, &self.waiting);
        }
        self.session.end("the reply queue is gone");
        self.waiting.forget_all();
    }
}

fn take_in(module: &str, vhost: &str, delivery: Delivery, waiting: &Waiting) {
    waiting.may_be_deaf.store(false, Ordering::Relaxed);
    let Some((id, sender, reply)) = wire::replied(&delivery.properties, delivery.data, vhost) else {
        warn!(module, "a reply that cannot be read");
        return;
    };
    match waiting.take(id, Some(&sender)) {
        Some(answer) => drop(answer.send(Ok(reply))),
        None => {
            counter!("vostro_rpc_late_replies_total", "caller" => module.to_owned()).increment(1);
        }
    }
}
