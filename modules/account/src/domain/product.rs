use std::str::FromStr;

use vostro_events::account::AccountKind;

/// What kind of account it is towards the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Product {
    /// For everyday payments; may be overdrawn by agreement.
    Current,
    /// For keeping money; never overdrawn.
    Savings,
    /// The bank's own.
    Internal,
}

/// A version of a product's terms. An account keeps the version it was opened under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    pub version: i32,
    /// What an account is called when its holder gives it no name.
    pub name: &'static str,
    pub kind: AccountKind,
    /// Whether an overdraft may be arranged.
    pub overdraft: bool,
}

/// The bank has no product of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown product")]
pub struct UnknownProduct;

impl Product {
    pub const ALL: [Self; 3] = [Self::Current, Self::Savings, Self::Internal];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "CURRENT",
            Self::Savings => "SAVINGS",
            Self::Internal => "INTERNAL",
        }
    }

    /// The terms new accounts are opened under. Older versions stay in the match of whoever has to honour them.
    pub const fn terms(self) -> Terms {
        match self {
            Self::Current => {
                Terms { version: 1, name: "Current account", kind: AccountKind::Customer, overdraft: true }
            }
            Self::Savings => {
                Terms { version: 1, name: "Savings account", kind: AccountKind::Customer, overdraft: false }
            }
            Self::Internal => {
                Terms { version: 1, name: "Internal account", kind: AccountKind::Internal, overdraft: false }
            }
        }
    }

    /// Whether customers can open it.
    pub const fn is_offered(self) -> bool {
        matches!(self.terms().kind, AccountKind::Customer)
    }
}

impl FromStr for Product {
    type Err = UnknownProduct;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|product| product.as_str() == text).ok_or(UnknownProduct)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_product_is_read_back_from_its_code() {
        for product in Product::ALL {
            assert_eq!(product.as_str().parse(), Ok(product));
        }
        assert_eq!("current".parse::<Product>(), Err(UnknownProduct));
    }

    #[test]
    fn customers_are_offered_everything_but_the_banks_own_accounts() {
        assert!(Product::Current.is_offered() && Product::Savings.is_offered());
        assert!(!Product::Internal.is_offered());
    }

    #[test]
    fn only_a_current_account_can_be_overdrawn() {
        let with_overdraft = Product::ALL.into_iter().filter(|product| product.terms().overdraft);
        assert_eq!(with_overdraft.collect::<Vec<_>>(), [Product::Current]);
    }
}
