use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many other instances of the bank run beside this one, as far as it knows. Cheap to clone: clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Company {
    others: Arc<AtomicUsize>,
}

impl Company {
    pub fn is_there(&self) -> bool {
        self.others() > 0
    }

    pub(crate) fn others(&self) -> usize {
        self.others.load(Ordering::Relaxed)
    }

    /// What an instance learns when it renews its leases.
    pub fn set(&self, others: usize) {
        self.others.store(others, Ordering::Relaxed);
    }
}
