//! The state of messaging, looked at once for all who watch it, and not at all while nobody does.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
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
    /// Locked while somebody looks, so that what was seen earlier is never told after what was seen later.
    sight: Arc<Mutex<Option<Sight>>>,
}

/// What was seen, and when that look began.
#[derive(Debug)]
struct Sight {
    sender: watch::Sender<Arc<Look>>,
    began: Instant,
}

impl OperationsWatch {
    /// How everything was at the last look, and a receiver of what changes. One task looks for all who hold one, and ends
    /// with the last.
    ///
    /// # Errors
    /// Database faults.
    pub async fn follow(&self, operations: &Operations) -> Result<watch::Receiver<Arc<Look>>, DeskError> {
        let mut sight = self.sight.lock().await;
        if let Some(Sight { sender, .. }) = sight.as_ref() {
            return Ok(sender.subscribe());
        }
        let began = Instant::now();
        let (sender, receiver) = watch::channel(Arc::new(look(operations, 0).await?));
        *sight = Some(Sight { sender, began });
        drop(sight);
        tokio::spawn(keep_looking(self.clone(), operations.clone()));
        Ok(receiver)
    }

    /// Looks again, unless somebody has begun to since this was asked for. Receivers hear of what it finds.
    ///
    /// # Errors
    /// Database faults.
    pub async fn look_again(&self, operations: &Operations) -> Result<(), DeskError> {
        let asked = Instant::now();
        let mut sight = self.sight.lock().await;
        match sight.as_mut() {
            Some(sight) if sight.began < asked => sight.renew(operations).await,
            _ => Ok(()),
        }
    }
}

impl Sight {
    async fn renew(&mut self, operations: &Operations) -> Result<(), DeskError> {
        let began = Instant::now();
        let before = Arc::clone(&self.sender.borrow());
        let seen = look(operations, before.number + 1).await?;
        self.began = began;
        if seen.modules != before.modules {
            self.sender.send_replace(Arc::new(seen));
        }
        Ok(())
    }
}

async fn keep_looking(watch: OperationsWatch, operations: Operations) {
    loop {
        tokio::time::sleep(EVERY).await;
        let mut sight = watch.sight.lock().await;
        // Nobody watches any more; the next one begins anew.
        let Some(watched) = sight.as_mut().filter(|sight| sight.sender.receiver_count() > 0) else {
            *sight = None;
            return;
        };
        if let Err(error) = watched.renew(&operations).await {
            tracing::debug!(%error, "cannot look at the modules; looking again");
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
