//! The state of messaging, looked at once for all who watch it, and not at all while nobody does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use vostro_messaging::parking::{DeskError, ParkedKeys};

use super::Operations;

/// How often the modules are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// How one module is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModuleLook {
    pub module: &'static str,
    pub paused: bool,
    pub outbox_rows: i64,
    pub outbox_oldest: Option<DateTime<Utc>>,
    pub parked: ParkedKeys,
}

/// How all of them were at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub modules: Vec<ModuleLook>,
    pub at: DateTime<Utc>,
    /// Which change of this process it is: whoever sees a number left out has missed one.
    pub number: u64,
}

/// Looks while somebody watches. Cheap to clone: clones share what they see.
#[derive(Debug, Clone, Default)]
pub struct OperationsWatch {
    running: Arc<Mutex<Option<watch::Receiver<Arc<Look>>>>>,
}

impl OperationsWatch {
    /// How everything is now, and a receiver of what changes. One task looks for all who hold one, and ends with the last.
    ///
    /// # Errors
    /// Database faults.
    pub async fn follow(&self, operations: &Operations) -> Result<watch::Receiver<Arc<Look>>, DeskError> {
        if let Some(receiver) = self.running() {
            return Ok(receiver);
        }
        let first = look(operations, 0).await?;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have begun meanwhile.
        if let Some(receiver) = running.as_ref().filter(|receiver| receiver.has_changed().is_ok()) {
            return Ok(receiver.clone());
        }
        let (sender, receiver) = watch::channel(Arc::new(first));
        *running = Some(receiver.clone());
        tokio::spawn(keep_looking(self.clone(), operations.clone(), sender));
        Ok(receiver)
    }

    fn running(&self) -> Option<watch::Receiver<Arc<Look>>> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // An error is a task that has ended.
        running.as_ref().filter(|receiver| receiver.has_changed().is_ok()).cloned()
    }

    /// Whether nobody watches any more; then the next one begins anew.
    fn is_over(&self, sender: &watch::Sender<Arc<Look>>) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // One receiver is kept here.
        let is_over = sender.receiver_count() <= 1;
        if is_over {
            *running = None;
        }
        is_over
    }
}

async fn keep_looking(watch: OperationsWatch, operations: Operations, sender: watch::Sender<Arc<Look>>) {
    loop {
        tokio::time::sleep(EVERY).await;
        if watch.is_over(&sender) {
            return;
        }
        let before = Arc::clone(&sender.borrow());
        match look(&operations, before.number + 1).await {
            Ok(seen) if seen.modules != before.modules => drop(sender.send_replace(Arc::new(seen))),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "cannot look at the modules; looking again"),
        }
    }
}

async fn look(operations: &Operations, number: u64) -> Result<Look, DeskError> {
    let at = operations.clock.now();
    let mut modules = Vec::with_capacity(operations.consumption.len());
    for (desk, parking) in operations.consumption.iter().zip(operations.parking.iter()) {
        let (consumption, outbox, parked) =
            futures::try_join!(desk.consumption(), desk.outbox(), parking.keys()).map_err(DeskError::from)?;
        modules.push(ModuleLook {
            module: desk.module(),
            paused: consumption.paused,
            outbox_rows: outbox.rows,
            outbox_oldest: outbox.oldest,
            parked,
        });
    }
    Ok(Look { modules, at, number })
}
