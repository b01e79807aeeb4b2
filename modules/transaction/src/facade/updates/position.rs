use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::OVERLAP;
use crate::domain::Transaction;

/// How many transactions that ended lately, and how many that are under way, a position remembers. There is no number that
/// counts the changes of an account, so a position says what was told of the time in which an earlier change may still come
/// to light.
const MOST_ENDED: usize = 128;
const MOST_OPEN: usize = 64;
/// The end of the year 9999 in milliseconds: nothing that is computed from a time before it leaves the calendar.
const LATEST: i64 = 253_402_300_799_999;

/// How far a stream had come: enough to go on behind it, wherever and whenever. As text it can be a client's cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Everything before was told, but for what comes to light late.
    pub(super) at: DateTime<Utc>,
    /// The time of the latest change that was told.
    latest: DateTime<Utc>,
    /// What was told of and had not ended.
    pub(super) open: BTreeSet<Uuid>,
    /// The ends that were told and are not long before `at`, with a part of each id that is enough to know it by.
    ended: VecDeque<(DateTime<Utc>, u64)>,
    /// The latest time of which it does not remember everything, because too much happened.
    forgot_at: Option<DateTime<Utc>>,
}

/// The text is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position of a stream of transactions")]
pub struct InvalidPosition;

impl Position {
    pub(super) fn new() -> Self {
        let (at, open, ended) = (DateTime::UNIX_EPOCH, BTreeSet::new(), VecDeque::new());
        Self { at, latest: at, open, ended, forgot_at: None }
    }

    /// Remembers that this state was told, or need not be. What is told later began at `next` or after: it is found again by
    /// that time and not by the time of its change.
    pub(super) fn tell(&mut self, transaction: &Transaction, next: Option<DateTime<Utc>>) {
        let at = transaction.occurred_at();
        self.latest = self.latest.max(at);
        self.at = next.map_or(self.latest, |next| next.min(self.latest));
        if transaction.status.has_ended() {
            self.open.remove(&transaction.id);
            self.ended.push_back((at, part_of(transaction.id)));
        } else {
            self.open.insert(transaction.id);
        }
        let floor = self.at - OVERLAP;
        self.ended.retain(|(at, _)| *at >= floor);
        while self.ended.len() > MOST_ENDED {
            self.forgot_at = self.forgot_at.max(self.ended.pop_front().map(|(at, _)| at));
        }
        while self.open.len() > MOST_OPEN {
            self.open.pop_first();
            self.forgot_at = Some(self.at);
        }
        self.forgot_at = self.forgot_at.filter(|at| *at >= floor);
    }

    pub(super) fn knows_end_of(&self, id: Uuid) -> bool {
        let part = part_of(id);
        self.ended.iter().any(|(_, known)| *known == part)
    }

    /// Whether there is a way to go on from here without leaving out or repeating anything.
    pub(super) const fn is_complete(&self) -> bool {
        self.forgot_at.is_none()
    }
}

/// The last six bytes, which are random in every id.
fn part_of(id: Uuid) -> u64 {
    id.as_u64_pair().1 & 0xffff_ffff_ffff
}

/// `<milliseconds>.<ids that are open>.<parts of ids that have ended>`, in hexadecimal, with a `!` before what is
/// incomplete.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let incomplete = if self.is_complete() { "" } else { "!" };
        write!(f, "{incomplete}{:x}.", self.at.timestamp_millis())?;
        self.open.iter().try_for_each(|id| write!(f, "{}", id.simple()))?;
        f.write_str(".")?;
        self.ended.iter().try_for_each(|(_, part)| write!(f, "{part:012x}"))
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (is_complete, text) = text.strip_prefix('!').map_or((true, text), |rest| (false, rest));
        let [at, open, ended] = *text.split('.').collect::<Vec<_>>() else { return Err(InvalidPosition) };
        let at = i64::from_str_radix(at, 16).ok().filter(|at| (0..=LATEST).contains(at));
        let at = at.and_then(DateTime::from_timestamp_millis).ok_or(InvalidPosition)?;
        let open = words(open, 32, MOST_OPEN)?.into_iter().map(|id| Uuid::try_parse(id).map_err(|_| InvalidPosition));
        let ended = words(ended, 12, MOST_ENDED)?.into_iter();
        let ended = ended.map(|part| u64::from_str_radix(part, 16).map(|part| (at, part)).map_err(|_| InvalidPosition));
        Ok(Self {
            at,
            latest: at,
            open: open.collect::<Result<_, _>>()?,
            ended: ended.collect::<Result<_, _>>()?,
            forgot_at: (!is_complete).then_some(at),
        })
    }
}

/// Cuts a text into words of one length.
fn words(text: &str, length: usize, most: usize) -> Result<Vec<&str>, InvalidPosition> {
    if !text.is_ascii() || !text.len().is_multiple_of(length) || text.len() / length > most {
        return Err(InvalidPosition);
    }
    Ok((0..text.len()).step_by(length).map(|at| &text[at..at + length]).collect())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use vostro_events::transaction::TransactionKind;
    use vostro_kernel::Money;

    use super::*;
    use crate::domain::Status;

    fn transaction(status: Status, second: i64) -> Transaction {
        let at = DateTime::from_timestamp(1_700_000_000 + second, 0).expect("a time");
        Transaction {
            id: Uuid::now_v7(),
            initiator_id: Uuid::nil(),
            kind: TransactionKind::Transfer,
            status,
            amount: Money::new(1, "EUR".parse().expect("a currency")),
            source_account_id: Uuid::nil(),
            destination_account_id: Uuid::nil(),
            source_owner_id: None,
            destination_owner_id: None,
            reference: None,
            channel: None,
            failure_code: None,
            initiated_at: at,
            completed_at: status.has_ended().then_some(at),
        }
    }

    #[test]
    fn a_position_survives_being_text() {
        let mut position = Position::new();
        let (open, ended) = (transaction(Status::Initiated, 0), transaction(Status::Completed, 1));
        position.tell(&open, None);
        position.tell(&ended, None);
        let read: Position = position.to_string().parse().expect("a position");
        assert_eq!((read.at, &read.open), (position.at, &position.open));
        assert!(read.knows_end_of(ended.id) && !read.knows_end_of(open.id) && read.is_complete());
        for text in [
            "",
            ".",
            "1..",
            "x..",
            "1.ab.",
            "1..00000000000g",
            "1..é00000000000",
            "1...",
            "!",
            "-1..",
            "7fffffffffffffff..",
        ] {
            assert_eq!(text.parse::<Position>().is_ok(), text == "1..", "{text}");
        }
    }

    #[test]
    fn what_is_longer_ago_than_anything_can_come_late_is_forgotten() {
        let mut position = Position::new();
        let (before, after) = (transaction(Status::Completed, 0), transaction(Status::Failed, 61));
        position.tell(&before, None);
        position.tell(&after, None);
        assert!(position.knows_end_of(after.id) && !position.knows_end_of(before.id) && position.is_complete());
    }

    #[test]
    fn a_position_in_a_crowd_says_that_it_is_incomplete_until_the_crowd_is_gone() {
        for status in [Status::Completed, Status::Initiated] {
            let mut position = Position::new();
            for number in 0..200 {
                position.tell(&transaction(status, number / 100), None);
            }
            let read: Position = position.to_string().parse().expect("a position");
            assert!(!position.is_complete() && !read.is_complete(), "{status}");
            position.tell(&transaction(Status::Completed, 3_600), None);
            assert!(position.is_complete());
        }
    }

    #[test]
    fn a_position_is_not_beyond_what_waits_to_be_told() {
        let mut position = Position::new();
        let (slow, quick) = (transaction(Status::Completed, 500), transaction(Status::Completed, 900));
        position.tell(&slow, Some(quick.initiated_at - TimeDelta::seconds(800)));
        assert_eq!(position.at, quick.initiated_at - TimeDelta::seconds(800));
        position.tell(&quick, None);
        assert_eq!(position.at, quick.initiated_at);
    }

    #[test]
    fn an_end_takes_a_transaction_from_what_is_open() {
        let mut position = Position::new();
        let transaction = transaction(Status::Initiated, 0);
        position.tell(&transaction, None);
        let completed_at = Some(transaction.initiated_at + TimeDelta::seconds(1));
        position.tell(&Transaction { status: Status::Completed, completed_at, ..transaction }, None);
        assert!(position.open.is_empty());
    }
}
