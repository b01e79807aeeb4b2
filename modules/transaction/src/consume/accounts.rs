use std::collections::HashMap;
use std::collections::hash_map::Entry;

use async_trait::async_trait;
use sqlx::PgConnection;
use uuid::Uuid;
use vostro_events::account::{AccountCreatedV1, AccountUpdatedV2, BalanceChangedV1};
use vostro_messaging::{AfterCommit, Handler, HandlerError, Incoming};

use super::on_account_created::on_account_created;
use super::on_account_updated::on_account_updated;
use super::on_balance_changed::on_balance_changed;
use crate::store::accounts::{BalanceChange, LifecycleChange, Table, apply_balances_in_tx, apply_lifecycle_in_tx};

/// Keeps this module's picture of the accounts. Of a batch only the latest state of each account is written; the
/// sequences in the rows keep older events from overwriting newer ones.
pub(crate) struct AccountsHandler;

#[async_trait]
impl Handler for AccountsHandler {
    async fn handle_in_tx(
        &self,
        connection: &mut PgConnection,
        batch: &[Incoming],
    ) -> Result<AfterCommit, HandlerError> {
        apply_in_tx(connection, Table::Live, batch).await?;
        Ok(None)
    }
}

/// Takes events into one of the tables.
pub(crate) async fn apply_in_tx(
    connection: &mut PgConnection,
    table: Table,
    batch: &[Incoming],
) -> Result<(), HandlerError> {
    let mut accounts = HashMap::new();
    let mut balances = HashMap::with_capacity(batch.len());
    for event in batch {
        match event.envelope.event_type.as_str() {
            AccountCreatedV1::TYPE => keep_lifecycle(&mut accounts, on_account_created(event)?),
            AccountUpdatedV2::TYPE => keep_lifecycle(&mut accounts, on_account_updated(event)?),
            BalanceChangedV1::TYPE => keep_balance(&mut balances, on_balance_changed(event)?),
            _ => return Err(event.invalid("not an event about accounts")),
        }
    }
    apply_lifecycle_in_tx(connection, table, &mut accounts.into_values().collect::<Vec<_>>()).await?;
    apply_balances_in_tx(connection, table, &mut balances.into_values().collect::<Vec<_>>()).await?;
    Ok(())
}

/// Keeps the latest state of each account, and what its creation told wherever in the batch that comes.
fn keep_lifecycle(latest: &mut HashMap<Uuid, LifecycleChange>, mut change: LifecycleChange) {
    match latest.entry(change.account_id) {
        Entry::Vacant(free) => {
            free.insert(change);
        }
        Entry::Occupied(mut kept) => {
            let kept = kept.get_mut();
            if change.sequence > kept.sequence {
                std::mem::swap(kept, &mut change);
            }
            kept.creation = kept.creation.take().or(change.creation);
            kept.owner_id = kept.owner_id.or(change.owner_id);
        }
    }
}

fn keep_balance(latest: &mut HashMap<Uuid, BalanceChange>, change: BalanceChange) {
    let kept = latest.entry(change.account_id).or_insert(change);
    if change.sequence > kept.sequence {
        *kept = change;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vostro_events::account::{AccountKind, AccountStatus};

    fn change(sequence: i64, status: AccountStatus) -> LifecycleChange {
        let creation = (sequence == 1).then(|| ("VO01".to_owned(), AccountKind::Customer));
        let currency = "EUR".parse().expect("a currency");
        LifecycleChange { account_id: Uuid::nil(), sequence, creation, owner_id: None, currency, status }
    }

    #[test]
    fn the_latest_state_wins_and_the_creation_is_kept_in_any_order() {
        let events =
            [change(1, AccountStatus::Active), change(2, AccountStatus::Frozen), change(3, AccountStatus::Closed)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut latest = HashMap::new();
            for at in order {
                keep_lifecycle(&mut latest, events[at].clone());
            }
            let kept = &latest[&Uuid::nil()];
            assert_eq!((kept.sequence, kept.status), (3, AccountStatus::Closed), "{order:?}");
            assert_eq!(kept.creation, events[0].creation, "{order:?}");
        }
    }

    #[test]
    fn the_latest_balance_wins() {
        let balance = |sequence| BalanceChange { account_id: Uuid::nil(), sequence, available_minor: sequence * 10 };
        let mut latest = HashMap::new();
        for sequence in [2, 3, 1] {
            keep_balance(&mut latest, balance(sequence));
        }
        assert_eq!(latest[&Uuid::nil()], balance(3));
    }
}
