use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;
use vostro_events::account::AccountStatus;
use vostro_kernel::{ActorKind, Currency, Money, Page, RequestContext};
use vostro_messaging::Entity;

use super::{Accounts, viewer};
use crate::domain::Account;
use crate::error::{AccountError, AccountErrorCode};
use crate::store::{self, Viewer};

/// Which accounts to list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccountFilter {
    /// Whose. Customers only ever see their own, whatever stands here.
    pub owner_id: Option<Uuid>,
    pub status: Option<AccountStatus>,
}

/// A page of an account's entries to read, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryPage {
    pub account_id: Uuid,
    /// By the entries' numbers.
    pub page: Page<i64>,
}

/// One movement of money on an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub account_id: Uuid,
    /// 1 for the account's first entry, without gaps.
    pub sequence: i64,
    pub transaction_id: Uuid,
    /// Negative for a debit.
    pub amount: Money,
    pub balance_after: Money,
    pub booked_at: DateTime<Utc>,
}

/// What the accounts of one currency add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialBalanceLine {
    pub currency: Currency,
    /// Sum of all balances below zero, as a positive number of minor units. May be larger than one balance can be.
    pub debit_minor: i128,
    /// Sum of all balances above zero.
    pub credit_minor: i128,
}

impl TrialBalanceLine {
    /// The debits as a decimal at the currency's own scale.
    pub fn debit(&self) -> String {
        decimal(self.debit_minor, self.currency)
    }

    /// The credits as a decimal at the currency's own scale.
    pub fn credit(&self) -> String {
        decimal(self.credit_minor, self.currency)
    }

    /// Whether debits and credits are equal, as double entry promises.
    pub const fn is_balanced(&self) -> bool {
        self.debit_minor == self.credit_minor
    }
}

impl Entity for Account {
    const NAME: &'static str = "accounts";

    fn id(&self) -> Uuid {
        self.id
    }

    /// Each entry of the ledger and each change of the terms counts.
    fn edition(&self) -> i64 {
        self.version + self.balance.sequence
    }

    fn is_settled(&self) -> bool {
        false
    }
}

impl Accounts {
    /// The account, if it exists and the caller may see it.
    ///
    /// # Errors
    /// Database faults.
    pub async fn account(&self, context: &RequestContext, id: Uuid) -> Result<Option<Account>, AccountError> {
        Ok(self.accounts_by_id(context, &[id]).await?.pop().map(Arc::unwrap_or_clone))
    }

    /// Those of the accounts that exist and the caller may see, in no particular order, as they were a moment ago: for
    /// looking at, not for deciding ([`vostro_messaging::EntityCache`]).
    ///
    /// # Errors
    /// Database faults.
    pub async fn accounts_by_id(
        &self,
        context: &RequestContext,
        ids: &[Uuid],
    ) -> Result<Vec<Arc<Account>>, AccountError> {
        let ask = async |ids: Vec<Uuid>| store::accounts::find(self.pool(), Viewer::Everything, &ids).await;
        Ok(visible(context, self.inner.seen.read(ids, ask).await?))
    }

    /// The account as the database has it now, if it exists and the caller may see it.
    ///
    /// # Errors
    /// Database faults.
    pub async fn account_anew(&self, context: &RequestContext, id: Uuid) -> Result<Option<Arc<Account>>, AccountError> {
        let ask = async |ids: Vec<Uuid>| store::accounts::find(self.pool(), Viewer::Everything, &ids).await;
        Ok(visible(context, self.inner.seen.read_anew(&[id], ask).await?).pop())
    }

    /// A page of the customers' accounts the caller may see, in the order they were opened.
    ///
    /// # Errors
    /// Database faults.
    pub async fn accounts(
        &self,
        context: &RequestContext,
        filter: AccountFilter,
        page: Page<Uuid>,
    ) -> Result<Vec<Account>, AccountError> {
        let AccountFilter { owner_id, status } = filter;
        Ok(store::accounts::list(self.pool(), viewer(context), owner_id, status, page).await?)
    }

    /// The bank's own accounts, by number.
    ///
    /// # Errors
    /// `ACC_FORBIDDEN` for anybody who is not staff; database faults.
    pub async fn internal_accounts(&self, context: &RequestContext) -> Result<Vec<Account>, AccountError> {
        staff(context)?;
        Ok(store::accounts::internal(self.pool()).await?)
    }

    /// Pages of entries, one for each page asked for and in the same order; empty for accounts that the caller may not
    /// see.
    ///
    /// # Errors
    /// Database faults.
    pub async fn entries(
        &self,
        context: &RequestContext,
        pages: &[EntryPage],
    ) -> Result<Vec<Vec<Entry>>, AccountError> {
        let ids: Vec<Uuid> = pages.iter().map(|page| page.account_id).collect();
        let visible = self.accounts_by_id(context, &ids).await?;
        let of_visible = |asked: &EntryPage| {
            let may_see = visible.iter().any(|account| account.id == asked.account_id);
            Page { limit: if may_see { asked.page.limit } else { 0 }, ..asked.page }
        };
        let asked: Vec<_> = pages.iter().map(of_visible).collect();
        let rows = store::entries::pages(self.pool(), &ids, &asked).await?;
        let mut entries = vec![Vec::new(); pages.len()];
        for row in rows {
            let index = usize::try_from(row.page - 1).unwrap_or(usize::MAX);
            let Some((page, account_id)) = entries.get_mut(index).zip(ids.get(index)) else { continue };
            let currency: Currency = row.currency.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            page.push(Entry {
                account_id: *account_id,
                sequence: row.sequence,
                transaction_id: row.transaction_id,
                amount: Money::new(row.amount, currency),
                balance_after: Money::new(row.balance_after, currency),
                booked_at: row.booked_at,
            });
        }
        Ok(entries)
    }

    /// What all accounts add up to, by currency.
    ///
    /// # Errors
    /// `ACC_FORBIDDEN` for anybody who is not staff; database faults.
    pub async fn trial_balance(&self, context: &RequestContext) -> Result<Vec<TrialBalanceLine>, AccountError> {
        staff(context)?;
        let totals = store::accounts::totals(self.pool()).await?;
        let lines = totals.into_iter().map(|total| {
            Ok(TrialBalanceLine {
                currency: total.currency.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
                debit_minor: total.debit.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
                credit_minor: total.credit.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            })
        });
        lines.collect()
    }
}

/// Decided for each caller and each time: the accounts may have been read for somebody else.
fn visible(context: &RequestContext, mut accounts: Vec<Arc<Account>>) -> Vec<Arc<Account>> {
    let viewer = viewer(context);
    accounts.retain(|account| viewer.may_see(account));
    accounts
}

fn staff(context: &RequestContext) -> Result<(), AccountError> {
    match context.actor.kind {
        ActorKind::Staff | ActorKind::System => Ok(()),
        ActorKind::User | ActorKind::Anonymous => Err(AccountErrorCode::Forbidden.into()),
    }
}

/// A sum of minor units as a plain decimal. Not [`Money`], whose amounts have 64 bits.
fn decimal(minor: i128, currency: Currency) -> String {
    let decimals = currency.decimals();
    let scale = 10_u128.pow(decimals);
    let (sign, minor) = (if minor < 0 { "-" } else { "" }, minor.unsigned_abs());
    let (whole, fraction) = (minor / scale, minor % scale);
    if decimals == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{fraction:0width$}", width = decimals as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_written_at_the_scale_of_its_currency_however_large() {
        let write = |minor, code: &str| decimal(minor, code.parse().expect("a currency"));
        assert_eq!(write(1_250, "EUR"), "12.50");
        assert_eq!(write(-5, "EUR"), "-0.05");
        assert_eq!(write(1_250, "JPY"), "1250");
        assert_eq!(write(i128::from(i64::MAX) * 3, "KWD"), "27670116110564327.421");
    }
}
