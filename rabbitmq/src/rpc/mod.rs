//! Questions between modules on AMQP.
//!
//! A question goes to the direct exchange `rpc.<callee>` with its type as routing key, and from there into the one queue
//! `q.<callee>.rpc` of the callee's instances. It is `mandatory`, so that one nobody answers fails at once, and it expires
//! in the queue when its caller has stopped waiting. The reply goes to `rpc.reply` with the name of the caller's own queue,
//! `reply.<module>.<uuid>`, which exists as long as the connection that declared it.
//!
//! Not direct reply-to: the callee would need to write to the default exchange, through which it reached every queue.

mod callee;
mod caller;
mod wire;

pub use callee::serve;
pub use caller::AmqpCaller;

pub(crate) use wire::{REPLIES, REPLY_QUEUES, exchange_of, queue_of};
