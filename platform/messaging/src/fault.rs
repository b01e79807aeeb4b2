use std::time::Duration;

use rand::Rng as _;
use sqlx::PgPool;

use crate::lease::is_lost;

/// What a database error says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is no database to talk to just now. Nothing is wrong with the message: wait.
    DatabaseDown,
    /// This attempt lost a race; the next one may win.
    Conflict,
    /// The statement itself was refused; trying again will hardly help.
    Statement,
    /// Another instance does this now.
    LeaseLost,
}

pub(crate) fn classify(error: &sqlx::Error) -> Fault {
    match error {
        _ if is_lost(error) => Fault::LeaseLost,
        sqlx::Error::Database(database) => database.code().map_or(Fault::Statement, |code| by_sqlstate(&code)),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => Fault::DatabaseDown,
        _ => Fault::Statement,
    }
}

/// Whether the same may well succeed a little later: the database is away, or the attempt met a lock, a timeout or another
/// transaction.
pub fn may_pass(error: &sqlx::Error) -> bool {
    classify(error) != Fault::Statement
}

/// Whether the values themselves were refused (a constraint, a number out of range, an event nobody would take): the same
/// event will be refused again.
pub(crate) fn is_about_data(error: &sqlx::Error) -> bool {
    if matches!(error, sqlx::Error::Encode(_)) {
        return true;
    }
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

/// SQLSTATE classes of the PostgreSQL manual, appendix A.
fn by_sqlstate(code: &str) -> Fault {
    match code {
        // Serialisation failure, deadlock, lock not available, query cancelled by a timeout.
        "40001" | "40P01" | "55P03" | "57014" => Fault::Conflict,
        // Shutdown, crash, starting up, too many connections, read-only after a failover, connection exceptions.
        "57P01" | "57P02" | "57P03" | "53300" | "25006" => Fault::DatabaseDown,
        _ if code.starts_with("08") => Fault::DatabaseDown,
        _ => Fault::Statement,
    }
}

/// Waits until the database answers again, asking less and less often, up to every two seconds.
///
/// Never returns at once: a database that answers and still refuses what the caller wants (read-only after a failover, out
/// of disk) would otherwise be asked as fast as it can refuse.
pub(crate) async fn until_database_answers(pool: &PgPool) {
    tokio::time::sleep(jitter(Duration::from_millis(200))).await;
    let mut pause = Duration::from_millis(50);
    while sqlx::query_scalar!(r#"select 1 as "one!""#).fetch_one(pool).await.is_err() {
        tokio::time::sleep(jitter(pause)).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

/// How often something asks the database: as often as usual while it answers, less and less often, up to every five seconds,
/// while it does not. A bank asks from dozens of places; each of them connects anew when there is nothing to connect to.
#[derive(Debug)]
pub(crate) struct Pace {
    usual: Duration,
    pause: Duration,
}

impl Pace {
    const LONGEST: Duration = Duration::from_secs(5);

    pub(crate) const fn of(usual: Duration) -> Self {
        Self { usual, pause: usual }
    }

    /// How long to wait after a question that was answered or not.
    pub(crate) fn after(&mut self, answered: bool) -> Duration {
        if answered {
            self.pause = self.usual;
            return self.usual;
        }
        self.pause = (self.pause * 2).min(Self::LONGEST.max(self.usual));
        jitter(self.pause)
    }
}

/// Between half of `pause` and all of it, so that many who wait do not come back at the same moment.
pub(crate) fn jitter(pause: Duration) -> Duration {
    let longest = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(rand::rng().random_range(longest / 2..=longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_gone_is_asked_less_and_less_often_and_as_usual_once_it_answers() {
        let usual = Duration::from_secs(1);
        let mut pace = Pace::of(usual);
        assert_eq!(pace.after(true), usual);
        let pauses: Vec<Duration> = (0..20).map(|_| pace.after(false)).collect();
        assert!(pauses.iter().all(|pause| (usual..=Pace::LONGEST).contains(pause)), "{pauses:?}");
        assert!(pauses[3..].iter().all(|pause| *pause >= Pace::LONGEST / 2), "{pauses:?}");
        assert_eq!(pace.after(true), usual);
    }

    #[test]
    fn a_lost_database_is_told_from_a_refused_statement() {
        assert_eq!(classify(&sqlx::Error::PoolTimedOut), Fault::DatabaseDown);
        assert_eq!(by_sqlstate("57P01"), Fault::DatabaseDown);
        assert_eq!(by_sqlstate("08006"), Fault::DatabaseDown);
        assert_eq!(by_sqlstate("40001"), Fault::Conflict);
        assert_eq!(by_sqlstate("23505"), Fault::Statement);
    }
}
