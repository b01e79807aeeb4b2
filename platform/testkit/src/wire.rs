use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::Utc;
use vostro_messaging::rpc::{Asked, CallError, Callee, Caller, Reply, Request};

/// A wire between modules, in memory: questions reach their callee as they would through the broker, unless the wire is in
/// another [`WireMood`]. Cheap to clone: clones are the same wire.
#[derive(Clone)]
pub struct Wire {
    inner: Arc<Inner>,
}

struct Inner {
    caller: &'static str,
    callees: Vec<Callee>,
    mood: Mutex<WireMood>,
    carried: AtomicU32,
}

/// What a wire does with questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireMood {
    Carries,
    /// No reply ever comes.
    Swallows,
    /// There is no broker.
    IsCut,
}

impl Wire {
    /// A wire on which `caller` asks.
    pub fn new(caller: &'static str, callees: Vec<Callee>) -> Self {
        let (mood, carried) = (Mutex::new(WireMood::Carries), AtomicU32::new(0));
        Self { inner: Arc::new(Inner { caller, callees, mood, carried }) }
    }

    pub fn set(&self, mood: WireMood) {
        *self.inner.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// How many questions were given to it.
    pub fn carried(&self) -> u32 {
        self.inner.carried.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Caller for Wire {
    async fn call(&self, request: Request) -> Result<Reply, CallError> {
        self.inner.carried.fetch_add(1, Ordering::SeqCst);
        let mood = *self.inner.mood.lock().unwrap_or_else(PoisonError::into_inner);
        match mood {
            WireMood::Carries => {}
            WireMood::Swallows => std::future::pending().await,
            WireMood::IsCut => return Err(CallError::Unavailable("the wire is cut".to_owned())),
        }
        let callee = self.inner.callees.iter().find(|callee| callee.module() == request.callee);
        let callee = callee.ok_or(CallError::Unroutable)?;
        let (query, caller) = (request.query.to_owned(), self.inner.caller.to_owned());
        let patience = (request.deadline - Utc::now()).to_std().unwrap_or_default();
        let asked = Asked { query, caller, patience, body: request.body, traceparent: request.traceparent };
        callee.answer(asked).await.ok_or(CallError::DeadlineExceeded)
    }
}
