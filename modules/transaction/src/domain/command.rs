use std::str::FromStr;

use sha2::{Digest, Sha256};
use uuid::Uuid;
use vostro_events::transaction::TransactionKind;
use vostro_kernel::{Currency, Money, ids};

/// Where cash came in or went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Over the counter.
    Branch,
    Atm,
    /// A card payment or withdrawal.
    Card,
    /// From or to another bank.
    Wire,
}

/// The text is not the name of a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown channel {0:?}")]
pub struct UnknownChannel(pub String);

impl Channel {
    pub const ALL: [Self; 4] = [Self::Branch, Self::Atm, Self::Card, Self::Wire];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "BRANCH",
            Self::Atm => "ATM",
            Self::Card => "CARD",
            Self::Wire => "WIRE",
        }
    }
}

impl FromStr for Channel {
    type Err = UnknownChannel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == text).ok_or_else(|| UnknownChannel(text.to_owned()))
    }
}

/// The commands that start a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    TransferCreate,
    DepositRecord,
    WithdrawalInitiate,
}

impl Command {
    pub const ALL: [Self; 3] = [Self::TransferCreate, Self::DepositRecord, Self::WithdrawalInitiate];

    /// The name clients and the audit log know it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TransferCreate => "transferCreate",
            Self::DepositRecord => "depositRecord",
            Self::WithdrawalInitiate => "withdrawalInitiate",
        }
    }

    pub const fn kind(self) -> TransactionKind {
        match self {
            Self::TransferCreate => TransactionKind::Transfer,
            Self::DepositRecord => TransactionKind::Deposit,
            Self::WithdrawalInitiate => TransactionKind::Withdrawal,
        }
    }

    /// The input field that names the account to debit. For a deposit that is the bank's cash, chosen by the currency.
    pub(crate) const fn source_field(self) -> &'static [&'static str] {
        match self {
            Self::TransferCreate => &["input", "sourceAccountId"],
            Self::DepositRecord => &["input", "amount", "currency"],
            Self::WithdrawalInitiate => &["input", "accountId"],
        }
    }

    /// The input field that names the account to credit.
    pub(crate) const fn destination_field(self) -> &'static [&'static str] {
        match self {
            Self::TransferCreate => &["input", "destinationAccountId"],
            Self::DepositRecord => &["input", "accountId"],
            Self::WithdrawalInitiate => &["input", "amount", "currency"],
        }
    }
}

/// What a client asked for, before any of it is believed: all three commands in one shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    pub command: Command,
    pub idempotency_key: String,
    pub source_account_id: Uuid,
    pub destination_account_id: Uuid,
    /// A decimal in plain notation.
    pub amount: String,
    /// An ISO 4217 code.
    pub currency: String,
    /// Without surrounding blanks; `None` when nothing is left.
    pub reference: Option<String>,
    pub channel: Option<Channel>,
}

impl Instruction {
    /// From one account to another.
    pub fn transfer(
        idempotency_key: String,
        source_account_id: Uuid,
        destination_account_id: Uuid,
        amount: String,
        currency: String,
        reference: Option<&str>,
    ) -> Self {
        Self {
            command: Command::TransferCreate,
            idempotency_key,
            source_account_id,
            destination_account_id,
            amount,
            currency,
            reference: normalised(reference),
            channel: None,
        }
    }

    /// Cash that came in: from the bank's cash account of the currency.
    pub fn deposit(
        idempotency_key: String,
        account_id: Uuid,
        amount: String,
        currency: String,
        reference: Option<&str>,
        channel: Option<Channel>,
    ) -> Self {
        let source_account_id = Self::cash_account(&currency);
        let transfer = Self::transfer(idempotency_key, source_account_id, account_id, amount, currency, reference);
        Self { command: Command::DepositRecord, channel, ..transfer }
    }

    /// Cash that goes out: to the bank's cash account of the currency.
    pub fn withdrawal(
        idempotency_key: String,
        account_id: Uuid,
        amount: String,
        currency: String,
        reference: Option<&str>,
        channel: Option<Channel>,
    ) -> Self {
        let destination_account_id = Self::cash_account(&currency);
        let transfer = Self::transfer(idempotency_key, account_id, destination_account_id, amount, currency, reference);
        Self { command: Command::WithdrawalInitiate, channel, ..transfer }
    }

    /// The internal account that counts the bank's cash in a currency. It exists once, so its id follows from the code.
    pub fn cash_account(currency: &str) -> Uuid {
        ids::derived("account", &format!("CASH:{currency}"))
    }

    /// The customer's account the command is about, for the audit log.
    pub fn subject(&self) -> Uuid {
        match self.command {
            Command::TransferCreate | Command::WithdrawalInitiate => self.source_account_id,
            Command::DepositRecord => self.destination_account_id,
        }
    }

    /// What tells a repetition of the command from another command under the same key: SHA-256 of everything that
    /// matters, in one spelling. `12.5` and `12.50` are the same amount; the command's name is part of it, so one key
    /// cannot serve two kinds of payments.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| {
            // The length in front keeps two different inputs from running together into the same bytes.
            digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
            digest.update(bytes);
        };
        part(self.command.name().as_bytes());
        part(self.source_account_id.as_bytes());
        part(self.destination_account_id.as_bytes());
        part(self.currency.as_bytes());
        match self.money() {
            Some(money) => part(&money.minor.to_be_bytes()),
            None => part(self.amount.as_bytes()),
        }
        part(self.reference.as_deref().unwrap_or_default().as_bytes());
        part(self.channel.map_or("", Channel::as_str).as_bytes());
        digest.finalize().into()
    }

    fn money(&self) -> Option<Money> {
        let currency: Currency = self.currency.parse().ok()?;
        Money::parse(&self.amount, currency).ok()
    }
}

fn normalised(reference: Option<&str>) -> Option<String> {
    reference.map(str::trim).filter(|reference| !reference.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer() -> Instruction {
        let (source, destination) = (Uuid::from_u128(1), Uuid::from_u128(2));
        Instruction::transfer("key".into(), source, destination, "12.50".into(), "EUR".into(), Some("rent"))
    }

    #[test]
    fn spelling_does_not_change_a_fingerprint() {
        let spelled = Instruction::transfer(
            "another key".into(),
            Uuid::from_u128(1),
            Uuid::from_u128(2),
            "12.5".into(),
            "EUR".into(),
            Some("  rent "),
        );
        assert_eq!(spelled.fingerprint(), transfer().fingerprint());
        let blank = |reference| {
            let reference: Option<&str> = reference;
            Instruction::transfer(String::new(), Uuid::nil(), Uuid::max(), "1".into(), "EUR".into(), reference)
        };
        assert_eq!(blank(None).fingerprint(), blank(Some("  ")).fingerprint());
    }

    #[test]
    fn everything_that_matters_changes_a_fingerprint() {
        let original = transfer();
        let variants = [
            Instruction { command: Command::WithdrawalInitiate, ..original.clone() },
            Instruction { source_account_id: Uuid::from_u128(3), ..original.clone() },
            Instruction { destination_account_id: Uuid::from_u128(3), ..original.clone() },
            Instruction { amount: "12.51".into(), ..original.clone() },
            Instruction { amount: "twelve".into(), ..original.clone() },
            Instruction { currency: "CZK".into(), ..original.clone() },
            Instruction { reference: None, ..original.clone() },
            Instruction { channel: Some(Channel::Atm), ..original.clone() },
        ];
        for variant in variants {
            assert_ne!(variant.fingerprint(), original.fingerprint(), "{variant:?}");
        }
    }

    #[test]
    fn cash_moves_between_the_account_and_the_bank() {
        let account = Uuid::from_u128(1);
        let deposit = Instruction::deposit("k".into(), account, "1".into(), "EUR".into(), None, Some(Channel::Branch));
        let withdrawal = Instruction::withdrawal("k".into(), account, "1".into(), "EUR".into(), None, None);
        let cash = ids::derived("account", "CASH:EUR");
        assert_eq!((deposit.source_account_id, deposit.destination_account_id), (cash, account));
        assert_eq!((withdrawal.source_account_id, withdrawal.destination_account_id), (account, cash));
        assert_eq!([deposit.subject(), withdrawal.subject()], [account, account]);
        assert_ne!(deposit.fingerprint(), withdrawal.fingerprint());
    }

    #[test]
    fn every_channel_is_read_back_from_its_name() {
        for channel in Channel::ALL {
            assert_eq!(channel.as_str().parse(), Ok(channel));
        }
        assert!("branch".parse::<Channel>().is_err());
    }
}
