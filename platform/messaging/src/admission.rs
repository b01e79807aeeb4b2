//! Whether commands are let in: not while a module's outbox is beyond its bound.
//!
//! Without the broker a bank accepts commands, and their events wait in the outbox. That cannot go on for ever: the table
//! grows, and what is accepted is promised. Beyond a bound it is more honest to say "not now" at the door, before anything
//! is begun. Every instance looks at the same table, so all of them close and open at nearly the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{counter, gauge};
use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::fault::Pace;

/// From where on a module's commands are turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionBounds {
    /// Rows in the outbox. Commands are let in again at half of it.
    pub rows: i64,
    /// For how long nothing has left an outbox that is not empty.
    pub stalled: Duration,
}

/// What whoever lets commands in asks, for each: one look at a number in memory. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct AdmissionGate {
    /// After how many milliseconds to try again; 0 while the gate is open.
    closed_for: Arc<AtomicU64>,
}

impl AdmissionGate {
    /// A gate that is closed until somebody opens it, for tests of what stands behind one.
    pub fn closed(wait: Duration) -> Self {
        let gate = Self::default();
        gate.set(Some(wait));
        gate
    }

    /// `None` while commands are let in, else after which time it is worth trying again.
    pub fn refuses(&self) -> Option<Duration> {
        match self.closed_for.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(Duration::from_millis(millis)),
        }
    }

    /// Notes that a command of `module` was turned away.
    pub fn count_refusal(module: &str) {
        counter!("vostro_commands_turned_away_total", "module" => module.to_owned()).increment(1);
    }

    fn set(&self, decision: Option<Duration>) {
        let millis = decision.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
        self.closed_for.store(millis, Ordering::Relaxed);
    }
}

/// Looks at a module's outbox every second and opens or closes its gate.
pub struct AdmissionWatch {
    module: &'static str,
    pool: PgPool,
    bounds: AdmissionBounds,
    gate: AdmissionGate,
}

impl AdmissionWatch {
    const EVERY: Duration = Duration::from_secs(1);
    /// Looking at a long outbox takes a while: at most this share of the time is spent on it.
    const SHARE: u32 = 20;
    /// Every so often it is looked at from its beginning.
    const WHOLE_EVERY: u32 = 20;

    pub fn new(module: &'static str, pool: PgPool, bounds: AdmissionBounds, gate: AdmissionGate) -> Self {
        Self { module, pool, bounds, gate }
    }

    /// Watches until `stop` is cancelled. While the database is away nothing is decided anew: commands fail by themselves.
    pub async fn run(self, stop: CancellationToken) {
        let mut judge = Judge::new(self.bounds);
        let (mut begin, mut pace) = (Begin::default(), Pace::of(Self::EVERY));
        loop {
            let began = Instant::now();
            let looked = self.look(begin.next()).await;
            let pause = pace.after(looked.is_ok());
            if let Ok(sample) = looked {
                begin.note(&sample);
                self.apply(judge.decide(sample, Instant::now()), sample);
            }
            tokio::select! {
                () = tokio::time::sleep((began.elapsed() * Self::SHARE).max(pause)) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn apply(&self, decision: Option<Duration>, sample: Sample) {
        let (was_open, is_open) = (self.gate.refuses().is_none(), decision.is_none());
        self.gate.set(decision);
        gauge!("vostro_admission_closed", "module" => self.module).set(if is_open { 0.0 } else { 1.0 });
        if was_open && !is_open {
            let (module, rows) = (self.module, sample.rows);
            if rows > self.bounds.rows {
                warn!(module, rows, "the outbox is beyond its bound: commands are turned away");
            } else {
                warn!(module, rows, "nothing leaves the outbox: commands are turned away");
            }
        } else if is_open && !was_open {
            info!(module = self.module, rows = sample.rows, "the outbox has drained: commands are let in again");
        }
    }

    /// Counts from the id `first` on, and no further than twice the bound: how much more there is changes nothing.
    async fn look(&self, first: i64) -> sqlx::Result<Sample> {
        sqlx::query_as!(
            Sample,
            r#"select (select last_value from outbox_id_seq) as "newest!",
                   (select id from outbox where id >= $2 order by id limit 1) as head,
                   (select count(*) from (select from outbox where id >= $2 limit $1) as counted) as "rows!""#,
            self.bounds.rows.saturating_mul(2),
            first
        )
        .fetch_one(&self.pool)
        .await
    }
}

/// From where on to look.
///
/// Rows that are gone are passed over one by one until they are vacuumed, tens of thousands of them under load. So a look
/// begins at the first row that the last one found, and where there was none at what was new two looks before: nobody takes
/// as long as that from the id of a row to its commit. Should somebody, the next look from the beginning finds it.
#[derive(Default)]
struct Begin {
    first: i64,
    looks: u32,
    /// The newest ids of the last two looks.
    newest: [i64; 2],
}

impl Begin {
    fn next(&mut self) -> i64 {
        if self.looks.is_multiple_of(AdmissionWatch::WHOLE_EVERY) {
            self.first = 0;
        }
        self.looks = self.looks.wrapping_add(1);
        self.first
    }

    fn note(&mut self, sample: &Sample) {
        let [committed, newest] = self.newest;
        self.newest = [newest, sample.newest];
        self.first = sample.head.map_or(committed, |head| head.min(committed));
    }
}

/// What is in the outbox at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// The id that was given out last.
    newest: i64,
    /// The row that is to leave next.
    head: Option<i64>,
    rows: i64,
}

/// Decides from one look after another, without looking itself.
struct Judge {
    bounds: AdmissionBounds,
    closed: bool,
    /// The head, and since when it has been the same. Not the time an event happened: what is published again after years is
    /// no sign of anything.
    head: Option<(i64, Instant)>,
    last: Option<(i64, Instant)>,
}

impl Judge {
    /// What callers are told while the outbox does not shrink.
    const WAIT: Duration = Duration::from_secs(10);
    const LONGEST_WAIT: Duration = Duration::from_secs(60);

    fn new(bounds: AdmissionBounds) -> Self {
        Self { bounds, closed: false, head: None, last: None }
    }

    /// `None` to let commands in, else when to come again.
    fn decide(&mut self, sample: Sample, now: Instant) -> Option<Duration> {
        self.head = sample.head.map(|id| match self.head {
            Some((same, since)) if same == id => (id, since),
            _ => (id, now),
        });
        let stalled = self.head.is_some_and(|(_, since)| now - since >= self.bounds.stalled);
        // Opening at a lower mark than closing: otherwise the first commands let in would close it again.
        let most = if self.closed { self.bounds.rows / 2 } else { self.bounds.rows };
        self.closed = stalled || sample.rows > most;
        let wait = self.until_drained(sample.rows, now);
        self.last = Some((sample.rows, now));
        self.closed.then_some(wait)
    }

    /// When half of the bound is reached at the pace since the last look.
    fn until_drained(&self, rows: i64, now: Instant) -> Duration {
        let Some((before, at)) = self.last.filter(|(before, _)| *before > rows) else { return Self::WAIT };
        let left = u128::try_from((rows - self.bounds.rows / 2).max(0)).unwrap_or_default();
        let gone = u128::try_from(before - rows).unwrap_or(1).max(1);
        let millis = left * (now - at).as_millis() / gone;
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
            .clamp(AdmissionWatch::EVERY, Self::LONGEST_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: AdmissionBounds = AdmissionBounds { rows: 100, stalled: Duration::from_secs(60) };

    /// What the judge says to these looks, a second apart.
    fn decisions(looks: &[(i64, i64)]) -> Vec<Option<u64>> {
        let (mut judge, start) = (Judge::new(BOUNDS), Instant::now());
        let decide = |(nth, (head, rows)): (usize, &(i64, i64))| {
            let sample = Sample { newest: *head, head: (*rows > 0).then_some(*head), rows: *rows };
            let now = start + Duration::from_secs(u64::try_from(nth).expect("few"));
            judge.decide(sample, now).map(|wait| wait.as_secs())
        };
        looks.iter().enumerate().map(decide).collect()
    }

    #[test]
    fn it_closes_beyond_the_bound_and_opens_at_half_of_it() {
        let looks = [(1, 100), (1, 101), (2, 100), (3, 51), (4, 50), (5, 100)];
        let closed: Vec<bool> = decisions(&looks).iter().map(Option::is_some).collect();
        assert_eq!(closed, [false, true, true, true, false, false]);
    }

    #[test]
    fn it_tells_when_to_come_again_by_the_pace_of_draining() {
        assert_eq!(decisions(&[(1, 110), (2, 110), (3, 100), (4, 99)]), [Some(10), Some(10), Some(5), Some(49)]);
    }

    #[test]
    fn an_outbox_that_nothing_leaves_closes_it_however_short() {
        let mut looks = vec![(7, 1); 61];
        assert_eq!(decisions(&looks)[59], None);
        assert_eq!(decisions(&looks)[60], Some(10));
        looks.push((8, 1));
        assert_eq!(decisions(&looks)[61], None, "something left");
    }

    #[test]
    fn an_outbox_that_is_empty_in_between_is_not_stalled() {
        let mut looks = vec![(7, 1); 40];
        looks.push((0, 0));
        looks.extend(vec![(7, 1); 40]);
        assert!(decisions(&looks).iter().all(Option::is_none));
    }

    #[test]
    fn a_look_begins_where_the_last_one_found_something_and_now_and_then_at_the_beginning() {
        let mut begin = Begin::default();
        let mut look = |newest, head| {
            let first = begin.next();
            begin.note(&Sample { newest, head, rows: 0 });
            first
        };
        assert_eq!([look(10, None), look(20, None), look(30, None)], [0, 0, 0]);
        assert_eq!(look(40, Some(5)), 10, "what was new two looks before");
        assert_eq!(look(50, Some(45)), 5, "the first row");
        assert_eq!(look(50, None), 30, "rows below it may be on their way to their commit");
        let rest: Vec<i64> = (6..=AdmissionWatch::WHOLE_EVERY).map(|_| look(50, None)).collect();
        let (last, before) = rest.split_last().expect("some");
        assert_eq!(before.last(), Some(&50), "nothing below is passed over again");
        assert_eq!(*last, 0, "what was committed late below is found");
    }

    #[test]
    fn a_gate_that_was_never_judged_is_open() {
        assert_eq!(AdmissionGate::default().refuses(), None);
    }
}
