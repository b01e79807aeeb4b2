use vostro_kernel::RefusalCode;

/// Why the ledger does not book a transfer. A closed list; [`PostingRefusal::ALL`] is the order the rules are asked in,
/// and the first that refuses is the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PostingRefusal {
    SourceMissing,
    DestinationMissing,
    SameAccount,
    SourceClosed,
    SourceFrozen,
    DestinationClosed,
    DestinationFrozen,
    CurrencyMismatch,
    AmountNotPositive,
    InsufficientFunds,
    Overflow,
}

impl PostingRefusal {
    pub const ALL: [Self; 11] = [
        Self::SourceMissing,
        Self::DestinationMissing,
        Self::SameAccount,
        Self::SourceClosed,
        Self::SourceFrozen,
        Self::DestinationClosed,
        Self::DestinationFrozen,
        Self::CurrencyMismatch,
        Self::AmountNotPositive,
        Self::InsufficientFunds,
        Self::Overflow,
    ];
}

impl RefusalCode for PostingRefusal {
    /// The side that pays has the plain codes; the payer is who reads them.
    fn code(self) -> &'static str {
        match self {
            Self::SourceMissing => "ACC_NOT_FOUND",
            Self::DestinationMissing => "ACC_DESTINATION_NOT_FOUND",
            Self::SameAccount => "ACC_SAME_ACCOUNT",
            Self::SourceClosed => "ACC_CLOSED",
            Self::SourceFrozen => "ACC_FROZEN",
            Self::DestinationClosed => "ACC_DESTINATION_CLOSED",
            Self::DestinationFrozen => "ACC_DESTINATION_FROZEN",
            Self::CurrencyMismatch => "ACC_CURRENCY_MISMATCH",
            Self::AmountNotPositive => "ACC_AMOUNT_NOT_POSITIVE",
            Self::InsufficientFunds => "ACC_INSUFFICIENT_FUNDS",
            Self::Overflow => "ACC_BALANCE_OVERFLOW",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::SourceMissing => "The account to debit does not exist.",
            Self::DestinationMissing => "The account to credit does not exist.",
            Self::SameAccount => "An account cannot pay itself.",
            Self::SourceClosed => "The account to debit is closed.",
            Self::SourceFrozen => "The account to debit is frozen.",
            Self::DestinationClosed => "The account to credit is closed.",
            Self::DestinationFrozen => "The account to credit is frozen.",
            Self::CurrencyMismatch => "The amount and both accounts must be in the same currency.",
            Self::AmountNotPositive => "The amount must be greater than zero.",
            Self::InsufficientFunds => "The account to debit does not have enough available funds.",
            Self::Overflow => "A balance would become larger than the bank can count.",
        }
    }
}
