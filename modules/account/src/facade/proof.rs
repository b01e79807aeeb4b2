use std::fmt;

use sqlx::PgConnection;
use uuid::Uuid;

use super::Accounts;
use crate::error::AccountError;
use crate::store::proof::{self, AccountDivergence, AccountRange, EntryPlace, PostingDivergence, Size};

/// What must be true of the ledger, in the order it is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProofRule {
    /// An account's entries are numbered 1, 2, 3, … and each balance after is the one before plus the amount.
    EntriesContinue,
    /// An account's balance is the fold of its entries and its sequence their number.
    BalanceIsFold,
    /// No customer is below the agreed limit.
    WithinLimit,
    /// The ledger's copy of an account's fixed terms is what the account says.
    TermsAgree,
    /// A decided transaction has exactly the two entries that move its amount, or none when it was rejected.
    PostingsComplete,
    /// All accounts of a currency add up to zero.
    CurrenciesBalance,
}

impl ProofRule {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EntriesContinue => "ENTRIES_CONTINUE",
            Self::BalanceIsFold => "BALANCE_IS_FOLD",
            Self::WithinLimit => "WITHIN_LIMIT",
            Self::TermsAgree => "TERMS_AGREE",
            Self::PostingsComplete => "POSTINGS_COMPLETE",
            Self::CurrenciesBalance => "CURRENCIES_BALANCE",
        }
    }
}

/// Where the ledger is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    pub rule: ProofRule,
    pub account_id: Option<Uuid>,
    /// The entry, by its number on the account.
    pub sequence: Option<i64>,
    pub transaction_id: Option<Uuid>,
    /// What was found and what was expected, in plain words.
    pub detail: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.rule.as_str())?;
        if let Some(account) = self.account_id {
            write!(f, ", account {account}")?;
        }
        if let Some(sequence) = self.sequence {
            write!(f, ", entry {sequence}")?;
        }
        if let Some(transaction) = self.transaction_id {
            write!(f, ", transaction {transaction}")?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// What the proof looked at, and the first divergence if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerProof {
    pub accounts: u64,
    pub entries: u64,
    /// Decided transactions, rejected ones included.
    pub postings: u64,
    pub rejections: u64,
    pub divergence: Option<Divergence>,
}

impl LedgerProof {
    pub const fn is_ok(&self) -> bool {
        self.divergence.is_none()
    }
}

/// How far the proof has come, counted in entries; every entry is read twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofProgress {
    pub done: u64,
    pub total: u64,
}

/// Entries folded by one statement: enough to be fast, little enough to show progress and to sort in memory.
const PIECE: i64 = 250_000;

impl Accounts {
    /// Recomputes the whole ledger from its entries and says where it first diverges: rule by rule, and within a rule by
    /// account and entry, or by transaction.
    ///
    /// Reads one snapshot, so it can run while money moves, and changes nothing.
    ///
    /// # Errors
    /// Database faults.
    pub async fn verify_ledger(&self, progress: impl FnMut(ProofProgress) + Send) -> Result<LedgerProof, AccountError> {
        let mut transaction =
            vostro_messaging::begin_with(self.pool(), "begin isolation level repeatable read read only").await?;
        proof::prepare_in_tx(&mut transaction).await?;
        let size = proof::size_in_tx(&mut transaction).await?;
        let divergence = first_divergence_in_tx(&mut transaction, size, progress).await?;
        transaction.rollback().await?;
        Ok(LedgerProof {
            accounts: size.accounts.unsigned_abs(),
            entries: size.entries.unsigned_abs(),
            postings: size.postings.unsigned_abs(),
            rejections: size.rejections.unsigned_abs(),
            divergence,
        })
    }
}

async fn first_divergence_in_tx(
    connection: &mut PgConnection,
    size: Size,
    mut progress: impl FnMut(ProofProgress) + Send,
) -> Result<Option<Divergence>, AccountError> {
    let entries = size.entries.unsigned_abs();
    let mut report = |done: u64| progress(ProofProgress { done, total: entries * 2 });
    report(0);
    let mut done = 0;
    for (range, length) in pieces(&proof::lengths_in_tx(connection).await?, PIECE) {
        if let Some(found) = proof::first_broken_account_in_tx(connection, range).await? {
            return Ok(Some(found.into()));
        }
        done = (done + length.unsigned_abs()).min(entries);
        report(done);
    }
    if let Some(found) = proof::first_broken_posting_in_tx(connection).await? {
        let entries = proof::entries_of_in_tx(connection, found.transaction_id).await?;
        return Ok(Some(posting_divergence(&found, &entries)));
    }
    report(entries * 2);
    let sums = proof::sums_in_tx(connection).await?;
    Ok(sums.into_iter().find(|(_, sum)| sum != "0").map(|(currency, sum)| Divergence {
        rule: ProofRule::CurrenciesBalance,
        account_id: None,
        sequence: None,
        transaction_id: None,
        detail: format!("all {currency} accounts together hold {sum} minor units, not 0"),
    }))
}

/// Cuts the accounts, in id order with their numbers of entries, into ranges of about `most` entries each. Together the
/// ranges cover every id there can be, so that entries of accounts nobody knows are found too.
fn pieces(lengths: &[(Uuid, i64)], most: i64) -> Vec<(AccountRange, i64)> {
    let mut pieces = Vec::new();
    let (mut after, mut length) = (None, 0);
    for (account, entries) in lengths {
        length += entries;
        if length >= most {
            pieces.push((AccountRange { after, through: Some(*account) }, length));
            (after, length) = (Some(*account), 0);
        }
    }
    pieces.push((AccountRange { after, through: None }, length));
    pieces
}

impl From<AccountDivergence> for Divergence {
    fn from(found: AccountDivergence) -> Self {
        let (posted, sequence) = (found.posted.unwrap_or_default(), found.sequence.unwrap_or_default());
        let (total, entries) = (found.total.as_deref().unwrap_or("0"), found.entries.unwrap_or_default());
        let (rule, detail) = if found.first_broken.is_some() {
            (ProofRule::EntriesContinue, "the entry does not continue the one before it".to_owned())
        } else if entries != sequence || total.parse() != Ok(posted) {
            let detail = format!(
                "the balance says {posted} minor units after {sequence} entries, the entries say {total} after {entries}"
            );
            (ProofRule::BalanceIsFold, detail)
        } else if found.below_limit {
            (ProofRule::WithinLimit, format!("{posted} minor units are below the agreed limit"))
        } else {
            (ProofRule::TermsAgree, "account, balance and entries differ in kind, currency or owner".to_owned())
        };
        Self {
            rule,
            account_id: Some(found.account_id),
            sequence: found.first_broken.or(found.sequence),
            transaction_id: None,
            detail,
        }
    }
}

fn posting_divergence(found: &PostingDivergence, entries: &[EntryPlace]) -> Divergence {
    let number = entries.len();
    let total: i128 = entries.iter().map(|entry| i128::from(entry.amount)).sum();
    let detail = if !found.known {
        format!("{number} entries of a transaction that was never decided")
    } else if found.rejected {
        format!("{number} entries of a transaction that was rejected")
    } else {
        format!("{number} entries that sum to {total} minor units do not move what was decided")
    };
    Divergence {
        rule: ProofRule::PostingsComplete,
        account_id: entries.first().map(|entry| entry.account_id),
        sequence: entries.first().map(|entry| entry.sequence),
        transaction_id: Some(found.transaction_id),
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(after: Option<u128>, through: Option<u128>) -> AccountRange {
        AccountRange { after: after.map(Uuid::from_u128), through: through.map(Uuid::from_u128) }
    }

    #[test]
    fn the_pieces_cover_every_id_and_none_is_much_larger_than_asked() {
        let lengths = [(1, 6), (2, 5), (3, 0), (4, 30), (5, 2)].map(|(id, length)| (Uuid::from_u128(id), length));
        let expected = [(range(None, Some(2)), 11), (range(Some(2), Some(4)), 30), (range(Some(4), None), 2)];
        assert_eq!(pieces(&lengths, 10), expected);
        assert_eq!(pieces(&[], 10), [(range(None, None), 0)]);
    }

    #[test]
    fn a_divergence_names_its_place() {
        let divergence = Divergence {
            rule: ProofRule::EntriesContinue,
            account_id: Some(Uuid::nil()),
            sequence: Some(7),
            transaction_id: None,
            detail: "it is wrong".into(),
        };
        assert_eq!(
            divergence.to_string(),
            "ENTRIES_CONTINUE, account 00000000-0000-0000-0000-000000000000, entry 7: it is wrong"
        );
    }
}
