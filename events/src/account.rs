//! What the account module tells: accounts, and the money on them.
//!
//! Amounts are minor units of the event's currency. Positive means credit: the bank owes the holder more.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, Utc};
use schemars::generate::Contract;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use vostro_kernel::Currency;

use crate::domain_event::domain_events;
use crate::{NextVersionOf, NotUpcast};

/// What an account may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccountStatus {
    Active,
    /// No debits and no credits until somebody with authority lifts it.
    Frozen,
    /// For good.
    Closed,
}

impl AccountStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Frozen => "FROZEN",
            Self::Closed => "CLOSED",
        }
    }
}

/// Whose money an account counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccountKind {
    /// A customer's: a liability of the bank.
    Customer,
    /// The bank's own: cash, settlement, fees and the like.
    Internal,
}

/// An account exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountCreatedV1 {
    pub account_id: Uuid,
    /// The account number people write: an IBAN, or the code of an internal account such as `CASH-EUR`.
    pub number: String,
    pub kind: AccountKind,
    /// `CURRENT`, `SAVINGS` or `INTERNAL`.
    pub product: String,
    /// Absent on internal accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_id: Option<Uuid>,
    pub currency: Currency,
    pub status: AccountStatus,
    pub name: String,
}

// What AccountUpdatedV2 says better; kept for what was written while this was the newest.
/// An account's terms changed. Carries the state after the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountUpdatedV1 {
    pub account_id: Uuid,
    pub change: AccountChange,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_id: Option<Uuid>,
    pub currency: Currency,
    pub status: AccountStatus,
    /// How far the balance may go below zero.
    pub overdraft_limit_minor: i64,
    /// Why, in the words of whoever decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccountChange {
    Status,
    Overdraft,
}

/// An account's terms changed, one or several at once. Carries the state after the change.
///
/// The version before named one change of a closed list: that closing an account also ends its credit line could not be
/// said, and a further kind of change would have stopped every reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountUpdatedV2 {
    pub account_id: Uuid,
    /// Which terms are not what they were, each once. At least one.
    pub changed: Vec<AccountTerm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_id: Option<Uuid>,
    pub currency: Currency,
    pub status: AccountStatus,
    /// How far the balance may go below zero.
    pub overdraft_limit_minor: i64,
    /// Why, in the words of whoever decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Something that can change about an account. The list is open: readers pass over what they do not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccountTerm {
    Status,
    OverdraftLimit,
    /// Something a later release knows.
    #[serde(untagged)]
    Other(String),
}

impl JsonSchema for AccountTerm {
    fn schema_name() -> Cow<'static, str> {
        "AccountTerm".into()
    }

    /// This release writes what it knows, and reads any word.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        if *generator.contract() == Contract::Deserialize {
            return json_schema!({ "type": "string" });
        }
        json_schema!({
            "type": "string",
            "enum": ["STATUS", "OVERDRAFT_LIMIT"],
            "description": "Something that can change about an account. Later minor versions may know more of it.",
        })
    }
}

impl NextVersionOf<AccountUpdatedV1> for AccountUpdatedV2 {
    /// One change becomes a list of one. That a closed account had lost its credit line is not known of old events.
    fn upcast(mut before: Value) -> Result<Value, NotUpcast> {
        let not = |reason: &str| NotUpcast::new(Self::TYPE, reason);
        let fields = before.as_object_mut().ok_or_else(|| not("the data are no object"))?;
        let changed = match fields.remove("change").as_ref().and_then(Value::as_str) {
            Some("STATUS") => "STATUS",
            Some("OVERDRAFT") => "OVERDRAFT_LIMIT",
            _ => return Err(not("change is neither STATUS nor OVERDRAFT")),
        };
        fields.insert("changed".to_owned(), json!([changed]));
        Ok(before)
    }
}

/// The balance of an account after one posting. Its sequence is the ledger's, without gaps per account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BalanceChangedV1 {
    pub account_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_id: Option<Uuid>,
    pub currency: Currency,
    pub transaction_id: Uuid,
    /// What the posting changed `posted` by.
    pub delta_minor: i64,
    pub after: BalanceV1,
}

/// A balance by phase, in minor units. `available = posted − pending_out − locked + overdraft limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BalanceV1 {
    pub posted_minor: i64,
    pub pending_in_minor: i64,
    pub pending_out_minor: i64,
    pub locked_minor: i64,
    pub available_minor: i64,
}

/// The ledger booked a transaction: all of its entries, or none of this would have been said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostingAppliedV1 {
    pub transaction_id: Uuid,
    pub currency: Currency,
    pub entries: Vec<PostedEntryV1>,
    pub booked_at: DateTime<Utc>,
    pub booking_date: NaiveDate,
}

/// One side of a booked transaction. The entries of a transaction sum to zero per currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostedEntryV1 {
    pub account_id: Uuid,
    pub amount_minor: i64,
    /// The account's ledger sequence of this entry.
    pub sequence: i64,
}

/// The ledger refused a transaction; no entry exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostingRejectedV1 {
    pub transaction_id: Uuid,
    /// The first rule that refused it, such as `ACC_INSUFFICIENT_FUNDS`.
    pub code: String,
}

/// Somebody asked for a statement of an account, and it is being prepared. The entries it will have are fixed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatementRequestedV1 {
    pub statement_id: Uuid,
    pub account_id: Uuid,
    /// Absent on internal accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_id: Option<Uuid>,
    /// The first day of the period.
    pub from: NaiveDate,
    /// The last day of the period.
    pub to: NaiveDate,
    /// How many entries it will have.
    pub entries: i64,
}

/// One more part of a statement is written. The parts, one after the other, are the statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatementPartWrittenV1 {
    pub statement_id: Uuid,
    pub account_id: Uuid,
    /// 1 for the first part, without gaps.
    pub part: i32,
    /// How many entries are in this part.
    pub entries: i64,
    /// Its text: CSV (RFC 4180), with the names of the columns in the first part alone.
    pub content: String,
}

/// A statement is complete and can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatementReadyV1 {
    pub statement_id: Uuid,
    pub account_id: Uuid,
    /// Absent on internal accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_id: Option<Uuid>,
    /// The first day of the period.
    pub from: NaiveDate,
    /// The last day of the period.
    pub to: NaiveDate,
    pub currency: Currency,
    /// The balance before the first of its entries.
    pub opening_balance_minor: i64,
    /// The balance after the last of its entries.
    pub closing_balance_minor: i64,
    pub entries: i64,
    pub parts: i32,
}

/// There will be no statement, or there is none any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatementEndedV1 {
    pub statement_id: Uuid,
    pub account_id: Uuid,
    pub outcome: StatementOutcome,
    /// Why it failed, such as `LEDGER_INCONSISTENT`, `NOT_WRITTEN` or `OUT_OF_TIME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_code: Option<String>,
}

/// Why a statement cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StatementOutcome {
    /// Somebody did not want it any more.
    Cancelled,
    /// It could not be prepared in time.
    Failed,
    /// It was kept for as long as statements are.
    Expired,
}

/// The time of a statement is up: that for preparing it, or that for keeping it. Said by the account module to itself;
/// a term that was replaced or cancelled says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatementTermEndedV1 {
    /// Which term; a statement has one at a time.
    pub term_id: Uuid,
    pub statement_id: Uuid,
}

domain_events! {
    AccountCreatedV1 => "account.account-created.v1", "account", account_id;
    AccountUpdatedV1 => "account.account-updated.v1", "account", account_id;
    AccountUpdatedV2 => "account.account-updated.v2", "account", account_id, after AccountUpdatedV1;
    BalanceChangedV1 => "account.balance-changed.v1", "balance", account_id;
    PostingAppliedV1 => "account.posting-applied.v1", "posting", transaction_id;
    PostingRejectedV1 => "account.posting-rejected.v1", "posting", transaction_id;
    StatementRequestedV1 => "account.statement-requested.v1", "statement", statement_id;
    StatementPartWrittenV1 => "account.statement-part-written.v1", "statement", statement_id;
    StatementReadyV1 => "account.statement-ready.v1", "statement", statement_id;
    StatementEndedV1 => "account.statement-ended.v1", "statement", statement_id;
    StatementTermEndedV1 => "account.statement-term-ended.v1", "statement-term", term_id;
}
