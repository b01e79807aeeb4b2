//! How instances of the bank write payments for each other where they share them.

use super::row::Row;
use crate::domain::Transaction;

/// The number of the form. Whoever changes [`Row`], or what something in it means, takes the next.
pub(crate) const FORM: u16 = 1;

pub(crate) fn write(transaction: &Transaction) -> Vec<u8> {
    let row = Row {
        id: transaction.id,
        initiator_id: transaction.initiator_id,
        kind: transaction.kind.as_str().to_owned(),
        status: transaction.status.as_str().to_owned(),
        amount_minor: transaction.amount.minor,
        currency: transaction.amount.currency.to_string(),
        source_account_id: transaction.source_account_id,
        destination_account_id: transaction.destination_account_id,
        source_owner_id: transaction.source_owner_id,
        destination_owner_id: transaction.destination_owner_id,
        reference: transaction.reference.clone(),
        channel: transaction.channel.map(|channel| channel.as_str().to_owned()),
        failure_code: transaction.failure_code.clone(),
        initiated_at: transaction.initiated_at,
        completed_at: transaction.completed_at,
    };
    serde_json::to_vec(&row).expect("texts, numbers and times always serialise")
}

/// `None` for what [`write`] does not write.
pub(crate) fn read(written: &[u8]) -> Option<Transaction> {
    serde_json::from_slice::<Row>(written).ok()?.into_transaction().ok()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;
    use vostro_events::transaction::TransactionKind;
    use vostro_kernel::Money;

    use super::*;
    use crate::domain::{Channel, Status};

    fn failed() -> Transaction {
        Transaction {
            id: Uuid::from_u128(1),
            initiator_id: Uuid::from_u128(2),
            kind: TransactionKind::Withdrawal,
            status: Status::Failed,
            amount: Money::new(1_050, "EUR".parse().expect("a currency")),
            source_account_id: Uuid::from_u128(3),
            destination_account_id: Uuid::from_u128(4),
            source_owner_id: Some(Uuid::from_u128(2)),
            destination_owner_id: None,
            reference: Some("Rent for May".to_owned()),
            channel: Some(Channel::Atm),
            failure_code: Some("ACC_INSUFFICIENT_FUNDS".to_owned()),
            initiated_at: DateTime::from_timestamp(1_800_000_000, 123_456_000).expect("an instant"),
            completed_at: DateTime::from_timestamp(1_800_000_001, 0),
        }
    }

    /// Other instances read this, also those of another release.
    #[test]
    fn a_payment_is_written_in_form_1() {
        let id = |number: u128| Uuid::from_u128(number).to_string();
        let form = serde_json::json!({
            "id": id(1), "initiator_id": id(2), "kind": "WITHDRAWAL", "status": "FAILED", "amount_minor": 1_050,
            "currency": "EUR", "source_account_id": id(3), "destination_account_id": id(4), "source_owner_id": id(2),
            "destination_owner_id": null, "reference": "Rent for May", "channel": "ATM",
            "failure_code": "ACC_INSUFFICIENT_FUNDS", "initiated_at": "2027-01-15T08:00:00.123456Z",
            "completed_at": "2027-01-15T08:00:01Z",
        });
        let written: serde_json::Value = serde_json::from_slice(&write(&failed())).expect("JSON");
        assert_eq!((FORM, written), (1, form), "another form needs another number");
    }

    #[test]
    fn a_payment_is_read_as_it_was_written_and_nothing_else_is() {
        assert_eq!(read(&write(&failed())), Some(failed()));
        let written = String::from_utf8(write(&failed())).expect("text");
        for (from, to) in [("WITHDRAWAL", "GIFT"), ("\"kind\"", "\"sort\""), ("EUR", "EURO"), ("{", "[")] {
            assert_eq!(read(written.replacen(from, to, 1).as_bytes()), None, "{to}");
        }
        assert_eq!(read(written.replacen('{', "{\"more\":1,", 1).as_bytes()), None);
    }
}
