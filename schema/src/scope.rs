//! What a request carries to every resolver it reaches, in whichever module.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use vostro_kernel::{Ids, RequestContext};
use vostro_messaging::trace::Step;

use crate::stitch::{Charge, Meter};
use crate::upload::Files;

/// One request of one client: who is acting, under which correlation id, and what its resolvers share.
///
/// The door makes one per operation and puts it into the request data of every module as `Arc<RequestScope>`.
/// Resolvers reach it through [`crate::guards`].
pub struct RequestScope {
    context: RequestContext,
    ids: Arc<dyn Ids>,
    shared: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    remembers: AtomicBool,
    budget: Option<Arc<dyn Charge>>,
    meter: Option<Arc<dyn Meter>>,
    files: Files,
    /// Its span, which ends with it.
    _step: Option<Step>,
}

impl RequestScope {
    pub fn new(context: RequestContext, ids: Arc<dyn Ids>) -> Self {
        Self {
            context,
            ids,
            shared: Mutex::default(),
            remembers: AtomicBool::new(false),
            budget: None,
            meter: None,
            files: Files::new(),
            _step: None,
        }
    }

    /// Lets the caller pay for the operation out of this budget. Without one it is free, and its cost is not told.
    pub fn with_budget(self, budget: Option<Arc<dyn Charge>>) -> Self {
        Self { budget, ..self }
    }

    /// Lets the events of a subscription be on this meter. Without one they are free.
    pub fn with_meter(self, meter: Option<Arc<dyn Meter>>) -> Self {
        Self { meter, ..self }
    }

    /// Lets files come with the operation.
    pub fn with_files(self, files: Files) -> Self {
        Self { files, ..self }
    }

    /// The files that came with the operation, under the names that stand in its variables.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Lets the operation be a span of its trace, as long as anything of it goes on.
    pub fn with_step(self, step: Option<Step>) -> Self {
        Self { _step: step, ..self }
    }

    /// What the operation is paid from.
    pub fn budget(&self) -> Option<&dyn Charge> {
        self.budget.as_deref()
    }

    /// What the events of the subscription are on.
    pub fn meter(&self) -> Option<&dyn Meter> {
        self.meter.as_deref()
    }

    /// The context facades take as their first argument, for queries.
    pub fn context(&self) -> &RequestContext {
        &self.context
    }

    /// A context for one command: two mutations in one document are two commands of the same correlation.
    pub fn command(&self) -> RequestContext {
        self.context.next_command(self.ids.as_ref())
    }

    /// Lets what is read for one step of the operation be shown at the next ones. Say it before anything is read, and
    /// of nothing but one query: a mutation changes what was read before it.
    pub(crate) fn remember(&self) {
        self.remembers.store(true, Ordering::Relaxed);
    }

    /// Whether what was read need not be read again ([`Batch`](crate::loader::Batch)).
    pub fn remembers(&self) -> bool {
        self.remembers.load(Ordering::Relaxed)
    }

    /// What all resolvers of this request share, made on first use. For data loaders: an answer to one caller must not
    /// be served to another, so loaders live as long as the request and no longer.
    pub fn shared<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = shared.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(make()));
        Arc::clone(entry).downcast().expect("the entry is stored under its own type id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vostro_kernel::{Actor, SystemIds};

    #[test]
    fn a_request_shares_one_value_per_type() {
        let scope = RequestScope::new(RequestContext::of(Actor::ANONYMOUS, &SystemIds), Arc::new(SystemIds));
        let first = scope.shared(|| String::from("first"));
        let second = scope.shared(|| String::from("second"));
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(*scope.shared(|| 7_u8), 7);
    }

    #[test]
    fn each_command_has_its_own_id_and_the_same_correlation() {
        let scope = RequestScope::new(RequestContext::of(Actor::ANONYMOUS, &SystemIds), Arc::new(SystemIds));
        let (one, two) = (scope.command(), scope.command());
        assert_ne!(one.command_id, two.command_id);
        assert_eq!(one.correlation_id, two.correlation_id);
    }
}
