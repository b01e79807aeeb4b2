//! Statements: the entries of an account in a period, as a document that is written part by part.

use std::fmt::Write as _;

use chrono::{DateTime, Days, NaiveDate, SecondsFormat, TimeDelta, Utc};
use uuid::Uuid;
use vostro_kernel::{Currency, Money, Refusal};

use crate::error::AccountErrorCode;

/// The days a statement is about, both included. Days are those of UTC, as the ledger books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    first: NaiveDate,
    last: NaiveDate,
}

impl Period {
    /// A leap year.
    pub const MOST_DAYS: i64 = 366;

    /// A posting carries the time its transaction began at, so an entry of a day can be committed a little after the
    /// day. None is committed this late: each of its few statements is ended by the database after seconds, and so is a
    /// connection that stays idle between two.
    const SETTLED_AFTER: TimeDelta = TimeDelta::hours(1);

    /// # Errors
    /// `ACC_PERIOD_INVALID` when it ends before it begins or has more than [`Period::MOST_DAYS`] days; `ACC_PERIOD_NOT_OVER`
    /// until an hour after its last day.
    pub fn of(first: NaiveDate, last: NaiveDate, now: DateTime<Utc>) -> Result<Self, Refusal<AccountErrorCode>> {
        let at = |code, field| Refusal::new(code).at(&["input", field]);
        let days = (last - first).num_days() + 1;
        if !(1..=Self::MOST_DAYS).contains(&days) {
            return Err(at(AccountErrorCode::PeriodInvalid, "from"));
        }
        if last >= (now - Self::SETTLED_AFTER).date_naive() {
            return Err(at(AccountErrorCode::PeriodNotOver, "to"));
        }
        Ok(Self { first, last })
    }

    /// One that was accepted before.
    pub(crate) const fn accepted(first: NaiveDate, last: NaiveDate) -> Self {
        Self { first, last }
    }

    pub const fn first(&self) -> NaiveDate {
        self.first
    }

    pub const fn last(&self) -> NaiveDate {
        self.last
    }

    /// The first day that is not in it any more.
    pub(crate) fn next(&self) -> NaiveDate {
        self.last.checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX)
    }
}

/// What has become of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementStatus {
    /// Its parts are being written.
    Preparing,
    /// It can be read.
    Ready,
    /// Somebody did not want it any more.
    Cancelled,
    /// It could not be prepared in time.
    Failed,
    /// It was kept for as long as statements are.
    Expired,
}

impl StatementStatus {
    pub const ALL: [Self; 5] = [Self::Preparing, Self::Ready, Self::Cancelled, Self::Failed, Self::Expired];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "PREPARING",
            Self::Ready => "READY",
            Self::Cancelled => "CANCELLED",
            Self::Failed => "FAILED",
            Self::Expired => "EXPIRED",
        }
    }
}

impl std::str::FromStr for StatementStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(UnknownStatus)
    }
}

/// The text names no status of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the status of a statement")]
pub struct UnknownStatus;

/// Why a statement failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementFailure {
    /// The entries are not what they were when it was requested. The bank has to look at its ledger.
    LedgerInconsistent,
    /// The last attempt to write a part of it did not work.
    NotWritten,
    /// Nothing was wrong with it; its time was up before it was its turn.
    OutOfTime,
}

impl StatementFailure {
    pub const ALL: [Self; 3] = [Self::LedgerInconsistent, Self::NotWritten, Self::OutOfTime];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LedgerInconsistent => "LEDGER_INCONSISTENT",
            Self::NotWritten => "NOT_WRITTEN",
            Self::OutOfTime => "OUT_OF_TIME",
        }
    }
}

impl std::str::FromStr for StatementFailure {
    type Err = UnknownFailure;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|failure| failure.as_str() == text).ok_or(UnknownFailure)
    }
}

/// The text names no reason for which a statement fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a reason for which a statement fails")]
pub struct UnknownFailure;

/// A statement as a job: what it will be, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub id: Uuid,
    pub account_id: Uuid,
    /// The holder of the account.
    pub owner_id: Option<Uuid>,
    pub requested_by: Uuid,
    pub period: Period,
    pub currency: Currency,
    /// The number of its first entry, and how many there are. Fixed when it is requested.
    pub first_entry: i64,
    pub entries: i64,
    /// Minor units; before the first of its entries.
    pub opening_balance: i64,
    /// After the last entry that is written, so of the whole statement when it is ready.
    pub closing_balance: i64,
    pub status: StatementStatus,
    /// Entries that are written.
    pub done: i64,
    /// Parts that are written.
    pub parts: i32,
    /// The number of its latest event.
    pub version: i64,
    /// The term that counts; see `account.statement-term-ended.v1`.
    pub term_id: Uuid,
    pub requested_at: DateTime<Utc>,
    /// When it got as far as it is.
    pub changed_at: DateTime<Utc>,
    /// When it was ready, cancelled, given up or expired; `None` while it is being prepared.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it failed; while it is being prepared, why its next part could not be written the last time.
    pub failure: Option<StatementFailure>,
}

/// One entry as a statement shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementLine {
    pub sequence: i64,
    pub transaction_id: Uuid,
    /// Minor units.
    pub amount: i64,
    pub balance_after: i64,
    pub booked_at: DateTime<Utc>,
    pub booking_date: NaiveDate,
}

impl Statement {
    /// Takes the lines that follow those it has, and returns the part they make: CSV (RFC 4180). The first part begins
    /// with the names of the columns and is there also when the statement has no entries. It is ready with the last.
    ///
    /// `None` when the lines are not those that follow: the ledger is not what it was when the statement was requested.
    pub fn write(&mut self, lines: &[StatementLine], now: DateTime<Utc>) -> Option<String> {
        let mut text = String::with_capacity(lines.len() * 128 + 64);
        if self.parts == 0 {
            text.push_str("entry,booking_date,booked_at,transaction,amount,balance\r\n");
        }
        let (mut done, mut balance) = (self.done, self.closing_balance);
        for line in lines {
            done += 1;
            balance = balance.checked_add(line.amount)?;
            if line.sequence != self.first_entry + done - 1 || line.balance_after != balance || done > self.entries {
                return None;
            }
            self.write_line(&mut text, line);
        }
        if done == self.done && done < self.entries {
            return None;
        }
        (self.done, self.closing_balance) = (done, balance);
        self.parts += 1;
        self.version += 1;
        self.changed_at = now;
        self.failure = None;
        if self.done == self.entries {
            self.end(StatementStatus::Ready, now);
        }
        Some(text)
    }

    fn write_line(&self, text: &mut String, line: &StatementLine) {
        let decimal = |minor| Money::new(minor, self.currency).to_decimal_string();
        let StatementLine { sequence, transaction_id, amount, balance_after, booked_at, booking_date } = *line;
        let booked_at = booked_at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let (amount, balance) = (decimal(amount), decimal(balance_after));
        let _ = write!(text, "{sequence},{booking_date},{booked_at},{transaction_id},{amount},{balance}\r\n");
    }

    /// Whoever does not want it any more may say so while it is being prepared. Saying it twice changes nothing; whether it
    /// changed something is returned.
    ///
    /// # Errors
    /// `ACC_STATEMENT_ENDED`.
    pub fn cancel(&mut self, now: DateTime<Utc>) -> Result<bool, Refusal<AccountErrorCode>> {
        match self.status {
            StatementStatus::Preparing => {
                self.failure = None;
                self.end(StatementStatus::Cancelled, now);
                Ok(true)
            }
            StatementStatus::Cancelled => Ok(false),
            _ => Err(AccountErrorCode::StatementEnded.into()),
        }
    }

    /// What the end of a term does: what is not ready by then fails, what was is not kept any longer. `false` when it is not
    /// the term that counts, or nothing is left to end.
    pub fn term_ended(&mut self, term_id: Uuid, now: DateTime<Utc>) -> bool {
        if term_id != self.term_id {
            return false;
        }
        match self.status {
            StatementStatus::Preparing => {
                self.failure = self.failure.or(Some(StatementFailure::OutOfTime));
                self.end(StatementStatus::Failed, now);
            }
            StatementStatus::Ready => self.end(StatementStatus::Expired, now),
            StatementStatus::Cancelled | StatementStatus::Failed | StatementStatus::Expired => return false,
        }
        true
    }

    /// Whether nothing was between the state of this version and this one. The last part and the end that comes with it
    /// are one step and two numbers.
    pub(crate) fn follows(&self, version: i64) -> bool {
        let numbers = if self.status == StatementStatus::Ready { 2 } else { 1 };
        self.version == version + numbers
    }

    fn end(&mut self, status: StatementStatus, now: DateTime<Utc>) {
        self.status = status;
        self.version += 1;
        self.changed_at = now;
        self.ended_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AccountErrorCode as Code;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    fn statement(entries: i64) -> Statement {
        Statement {
            id: Uuid::from_u128(1),
            account_id: Uuid::from_u128(2),
            owner_id: Some(Uuid::from_u128(3)),
            requested_by: Uuid::from_u128(3),
            period: Period::accepted(day("2026-01-01"), day("2026-01-31")),
            currency: "EUR".parse().expect("a currency"),
            first_entry: 7,
            entries,
            opening_balance: 10_000,
            closing_balance: 10_000,
            status: StatementStatus::Preparing,
            done: 0,
            parts: 0,
            version: 1,
            term_id: Uuid::from_u128(4),
            requested_at: DateTime::UNIX_EPOCH,
            changed_at: DateTime::UNIX_EPOCH,
            ended_at: None,
            failure: None,
        }
    }

    fn line(sequence: i64, amount: i64, balance_after: i64) -> StatementLine {
        StatementLine {
            sequence,
            transaction_id: Uuid::from_u128(9),
            amount,
            balance_after,
            booked_at: instant("2026-01-05T09:30:00Z"),
            booking_date: day("2026-01-05"),
        }
    }

    #[test]
    fn a_period_is_of_one_day_to_a_leap_year_and_over() {
        let now = instant("2026-02-01T01:00:00Z");
        let of = |first: &str, last: &str| Period::of(day(first), day(last), now).map_err(|refusal| refusal.code);
        assert!(of("2026-01-31", "2026-01-31").is_ok());
        assert!(of("2025-01-31", "2026-01-31").is_ok(), "366 days");
        assert_eq!(of("2025-01-30", "2026-01-31"), Err(Code::PeriodInvalid));
        assert_eq!(of("2026-01-31", "2026-01-30"), Err(Code::PeriodInvalid));
        assert_eq!(of("2026-01-31", "2026-02-01"), Err(Code::PeriodNotOver));
        assert_eq!(Period::accepted(day("2026-01-01"), day("2026-01-31")).next(), day("2026-02-01"));
    }

    #[test]
    fn a_day_is_over_when_nothing_can_be_booked_on_it_any_more() {
        let yesterday = day("2026-01-31");
        let at = |now: &str| Period::of(yesterday, yesterday, instant(now)).map_err(|refusal| refusal.code);
        assert_eq!(at("2026-02-01T00:59:59Z"), Err(Code::PeriodNotOver));
        assert!(at("2026-02-01T01:00:00Z").is_ok());
    }

    #[test]
    fn the_parts_one_after_the_other_are_the_document() {
        let mut statement = statement(3);
        let first = statement.write(&[line(7, 1_250, 11_250), line(8, -250, 11_000)], DateTime::UNIX_EPOCH);
        assert_eq!(
            first.as_deref(),
            Some(
                "entry,booking_date,booked_at,transaction,amount,balance\r\n\
                 7,2026-01-05,2026-01-05T09:30:00.000000Z,00000000-0000-0000-0000-000000000009,12.50,112.50\r\n\
                 8,2026-01-05,2026-01-05T09:30:00.000000Z,00000000-0000-0000-0000-000000000009,-2.50,110.00\r\n"
            )
        );
        assert_eq!((statement.status, statement.done, statement.version), (StatementStatus::Preparing, 2, 2));
        let second = statement.write(&[line(9, -1, 10_999)], DateTime::UNIX_EPOCH).expect("the last part");
        assert!(second.starts_with("9,") && second.ends_with(",-0.01,109.99\r\n"), "{second}");
        assert_eq!((statement.status, statement.parts, statement.version), (StatementStatus::Ready, 2, 4));
        assert_eq!(statement.closing_balance, 10_999);
    }

    #[test]
    fn a_state_follows_the_one_before_it_and_no_other() {
        let later = instant("2026-02-10T12:00:00Z");
        let mut subject = statement(2);
        assert!(subject.write(&[line(7, 1, 10_001)], later).is_some());
        assert_eq!((1..=2).map(|version| subject.follows(version)).collect::<Vec<_>>(), [true, false]);
        assert!(subject.write(&[line(8, 1, 10_002)], later).is_some());
        assert_eq!((subject.status, subject.version, subject.changed_at), (StatementStatus::Ready, 4, later));
        assert_eq!((1..=4).map(|version| subject.follows(version)).collect::<Vec<_>>(), [false, true, false, false]);
        assert!(subject.term_ended(subject.term_id, later));
        assert!(subject.follows(4) && !subject.follows(2), "it was ready before it expired");
    }

    #[test]
    fn a_statement_without_entries_has_one_part_and_is_ready() {
        let mut statement = statement(0);
        let part = statement.write(&[], DateTime::UNIX_EPOCH).expect("a part");
        assert_eq!(part, "entry,booking_date,booked_at,transaction,amount,balance\r\n");
        assert_eq!((statement.status, statement.closing_balance), (StatementStatus::Ready, 10_000));
    }

    #[test]
    fn lines_that_do_not_follow_are_not_written() {
        for lines in [vec![line(8, 1, 10_001)], vec![line(7, 1, 10_002)], vec![], vec![line(7, i64::MAX, 1)]] {
            let mut subject = statement(2);
            assert_eq!(subject.write(&lines, DateTime::UNIX_EPOCH), None, "{lines:?}");
            assert_eq!(subject, statement(2));
        }
    }

    #[test]
    fn only_what_is_being_prepared_is_cancelled() {
        use StatementStatus::{Cancelled, Expired, Failed, Preparing, Ready};
        let table = [
            (Preparing, Ok(true)),
            (Cancelled, Ok(false)),
            (Ready, Err(Code::StatementEnded)),
            (Failed, Err(Code::StatementEnded)),
            (Expired, Err(Code::StatementEnded)),
        ];
        for (status, expected) in table {
            let mut subject = Statement { status, ..statement(1) };
            assert_eq!(subject.cancel(DateTime::UNIX_EPOCH).map_err(|refusal| refusal.code), expected, "{status:?}");
        }
    }

    #[test]
    fn the_end_of_a_term_fails_what_is_prepared_and_expires_what_was_ready() {
        use StatementStatus::{Cancelled, Expired, Failed, Preparing, Ready};
        let table =
            [(Preparing, Some(Failed)), (Ready, Some(Expired)), (Cancelled, None), (Failed, None), (Expired, None)];
        for (status, expected) in table {
            let mut subject = Statement { status, ..statement(1) };
            assert!(!subject.term_ended(Uuid::nil(), DateTime::UNIX_EPOCH), "a term that was replaced");
            assert_eq!(subject.term_ended(subject.term_id, DateTime::UNIX_EPOCH), expected.is_some());
            assert_eq!(subject.status, expected.unwrap_or(status));
        }
    }

    #[test]
    fn what_fails_says_what_the_last_attempt_failed_for_or_that_its_time_was_up() {
        for last in [None, Some(StatementFailure::LedgerInconsistent), Some(StatementFailure::NotWritten)] {
            let mut subject = Statement { failure: last, ..statement(1) };
            assert!(subject.term_ended(subject.term_id, DateTime::UNIX_EPOCH));
            assert_eq!(subject.failure, last.or(Some(StatementFailure::OutOfTime)));
        }
        let mut written = Statement { failure: Some(StatementFailure::NotWritten), ..statement(2) };
        assert!(written.write(&[line(7, 1, 10_001)], DateTime::UNIX_EPOCH).is_some());
        assert_eq!(written.failure, None, "it got on");
    }

    #[test]
    fn every_failure_is_read_back_from_its_name() {
        for failure in StatementFailure::ALL {
            assert_eq!(failure.as_str().parse(), Ok(failure));
        }
        assert_eq!("BAD_LUCK".parse::<StatementFailure>(), Err(UnknownFailure));
    }

    #[test]
    fn every_status_is_read_back_from_its_name() {
        for status in StatementStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert_eq!("READING".parse::<StatementStatus>(), Err(UnknownStatus));
    }
}
