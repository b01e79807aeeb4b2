//! What the broker can do when nothing is behind the publisher: the yardstick of `vostro bench messaging`.

use std::collections::VecDeque;

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};

use crate::Supervisor;
use crate::confirms::{Verdict, verdict};
use crate::message::short;

/// Where messages go; a queue has to be bound there.
pub struct Route {
    pub exchange: String,
    pub routing_key: String,
}

/// So many messages may wait for their confirms.
const WINDOW: usize = 256;
/// Survives a restart of the broker.
const PERSISTENT: u8 = 2;
/// Messages between two calls of `progress`.
const STEP: u64 = 1024;

/// Publishes persistent messages of `bytes` bytes, 256 at a time unconfirmed, and returns when all are confirmed.
///
/// # Errors
/// When the broker is away, refuses a message or has no queue for it; the text says which.
pub async fn publish(
    supervisor: &Supervisor,
    route: &Route,
    bytes: usize,
    messages: u64,
    progress: impl Fn(u64),
) -> Result<(), String> {
    let session = supervisor.session().await?;
    let channel = session.open_channel().await?;
    session.demand("asking for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
    let (exchange, routing_key) = (short(&route.exchange)?, short(&route.routing_key)?);
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let body = vec![b'x'; bytes];
    let mut unconfirmed = VecDeque::with_capacity(WINDOW);
    for number in 0..messages {
        if unconfirmed.len() == WINDOW
            && let Some(oldest) = unconfirmed.pop_front()
        {
            session.attempt(oldest).await.map(verdict).and_then(confirmed)?;
        }
        let publishing =
            channel.basic_publish(exchange.clone(), routing_key.clone(), options, &body, properties.clone());
        unconfirmed.push_back(session.demand("publishing", publishing).await?);
        if number % STEP == STEP - 1 {
            progress(STEP);
        }
    }
    for confirm in unconfirmed {
        session.attempt(confirm).await.map(verdict).and_then(confirmed)?;
    }
    progress(messages % STEP);
    Ok(())
}

fn confirmed(verdict: Verdict) -> Result<(), String> {
    match verdict {
        Verdict::Confirmed(None) => Ok(()),
        Verdict::Confirmed(Some(_)) => Err("no queue is bound for the yardstick's messages".to_owned()),
        Verdict::Refused(_) => Err("the broker refused a message of the yardstick".to_owned()),
        Verdict::Lost(reason) => Err(reason),
    }
}
