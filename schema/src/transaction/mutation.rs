use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use vostro_kernel::Role;
use vostro_transaction::{CashMovement, Initiated, TransactionError, TransactionErrorCode as Code, TransferCreate};

use super::types::{CashChannel, Transaction, WaitFor};
use super::{facade, failure};
use crate::access::{Access, only, signed_in};
use crate::faults::forbidden;
use crate::guards;
use crate::ids::{self, IdKind};
use crate::scalars::{IdempotencyKey, MoneyInput};

crate::user_errors! {
    /// Why a payment was refused.
    pub TransactionUserError, TransactionErrorCode {
        /// Your roles do not allow the command. The caller sees the top-level error `FORBIDDEN`, the audit log this.
        ///
        /// Have an administrator assign the role, or leave it to somebody who has it.
        TxnForbidden,
        /// The idempotency key is missing or malformed.
        ///
        /// Make a key of 1 to 128 visible ASCII characters for each command, and repeat it under the same one.
        IdempotencyKeyRequired,
        /// The idempotency key belongs to an earlier command with another input.
        ///
        /// Take a new key for another command; to repeat the earlier one, send its input unchanged.
        IdempotencyKeyReused,
        /// The bank does not know the currency, or holds no cash in it.
        ///
        /// Give an ISO 4217 code that the bank offers, such as EUR.
        TxnCurrencyUnknown,
        /// The amount is not a number, not positive, or beyond range.
        ///
        /// Give an amount above zero as a plain decimal, such as 12.50.
        TxnInvalidAmount,
        /// The amount has more decimals than its currency.
        ///
        /// Round it first.
        TxnAmountPrecision,
        /// Source and destination are the same account.
        ///
        /// Choose two different accounts.
        TxnSelfTransfer,
        /// No account with this id, or not one you may use.
        ///
        /// Correct the id. An account opened within the last second may not be known to payments yet: repeat it.
        TxnAccountNotFound,
        /// An account is kept in another currency.
        ///
        /// Send an amount in the account's currency.
        TxnCurrencyMismatch,
        /// An account is frozen.
        ///
        /// Wait until the bank lifts the freeze.
        TxnAccountFrozen,
        /// An account is closed.
        ///
        /// Use another account.
        TxnAccountClosed,
        /// The reference has more than 140 characters.
        ///
        /// Shorten it.
        TxnReferenceTooLong,
        /// The reference contains control characters.
        ///
        /// Remove them.
        TxnInvalidReference,
        /// No transaction with this id, or not one of yours.
        ///
        /// Take an id from `transactions`.
        TxnNotFound,
        /// The transaction has already ended.
        ///
        /// Nothing is to be done: look at its `status`.
        TxnInvalidState,
    }
}

/// A transfer between two accounts of the bank.
#[derive(Debug, InputObject)]
pub struct TransferCreateInput {
    idempotency_key: IdempotencyKey,
    /// One of your accounts; an operator may name any.
    source_account_id: ID,
    destination_account_id: ID,
    /// Positive, in the currency of both accounts.
    amount: MoneyInput,
    /// What the payee should read; at most 140 characters.
    reference: Option<String>,
    #[graphql(default)]
    wait_for: WaitFor,
}

/// Money that came in from outside.
#[derive(Debug, InputObject)]
pub struct DepositRecordInput {
    idempotency_key: IdempotencyKey,
    /// Where it is credited.
    account_id: ID,
    /// Positive, in the currency of the account.
    amount: MoneyInput,
    /// At most 140 characters.
    reference: Option<String>,
    #[graphql(default)]
    wait_for: WaitFor,
    channel: Option<CashChannel>,
}

/// Money that goes out.
#[derive(Debug, InputObject)]
pub struct WithdrawalInitiateInput {
    idempotency_key: IdempotencyKey,
    /// Where it is debited: one of your accounts; an operator may name any.
    account_id: ID,
    /// Positive, in the currency of the account.
    amount: MoneyInput,
    /// At most 140 characters.
    reference: Option<String>,
    #[graphql(default)]
    wait_for: WaitFor,
    channel: Option<CashChannel>,
}

macro_rules! payloads {
    ($($(#[$doc:meta])* $payload:ident;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, SimpleObject)]
            pub struct $payload {
                /// The payment; `null` when it was refused.
                transaction: Option<Transaction>,
                /// Whether the same command was accepted before and nothing happened this time.
                replayed: bool,
                /// Why it was refused; empty when it was not.
                user_errors: Vec<TransactionUserError>,
            }

            impl $payload {
                fn of(result: Result<Initiated, TransactionError>) -> Result<Self> {
                    match result {
                        Ok(Initiated { transaction, replayed }) => {
                            Ok(Self { transaction: Some(Transaction(transaction)), replayed, user_errors: vec![] })
                        }
                        // A missing role is a fault of the request; that it was tried is on record by now.
                        Err(TransactionError::Refused(refusal)) if refusal.code == Code::Forbidden => Err(forbidden()),
                        Err(TransactionError::Refused(refusal)) => {
                            let user_errors = vec![TransactionUserError::of(refusal)?];
                            Ok(Self { transaction: None, replayed: false, user_errors })
                        }
                        Err(error) => Err(failure(error)),
                    }
                }
            }
        )+
    };
}

payloads! {
    /// The answer to `transferCreate`.
    TransferCreatePayload;
    /// The answer to `depositRecord`.
    DepositRecordPayload;
    /// The answer to `withdrawalInitiate`.
    WithdrawalInitiatePayload;
}

/// Starting payments.
pub struct Mutation;

#[Object(name = "Mutation")]
impl Mutation {
    /// Moves money from one of your accounts to another account of the bank.
    #[graphql(directive = Access::apply(signed_in().cost(10)))]
    async fn transfer_create(
        &self,
        ctx: &Context<'_>,
        input: TransferCreateInput,
    ) -> Result<Option<TransferCreatePayload>> {
        let command = TransferCreate {
            idempotency_key: input.idempotency_key.into(),
            source_account_id: ids::decode(IdKind::Account, &input.source_account_id)?,
            destination_account_id: ids::decode(IdKind::Account, &input.destination_account_id)?,
            amount: input.amount.amount.as_str().to_owned(),
            currency: input.amount.currency.0.code().to_owned(),
            reference: input.reference,
            wait_for: input.wait_for.into(),
        };
        TransferCreatePayload::of(facade(ctx)?.transfer_create(&guards::command(ctx)?, command).await).map(Some)
    }

    /// Records money that came in from outside. For operators.
    #[graphql(directive = Access::apply(only(&[Role::Operator]).recorded().cost(10)))]
    async fn deposit_record(
        &self,
        ctx: &Context<'_>,
        input: DepositRecordInput,
    ) -> Result<Option<DepositRecordPayload>> {
        let command = CashMovement {
            idempotency_key: input.idempotency_key.into(),
            account_id: ids::decode(IdKind::Account, &input.account_id)?,
            amount: input.amount.amount.as_str().to_owned(),
            currency: input.amount.currency.0.code().to_owned(),
            reference: input.reference,
            channel: input.channel.map(Into::into),
            wait_for: input.wait_for.into(),
        };
        DepositRecordPayload::of(facade(ctx)?.deposit_record(&guards::command(ctx)?, command).await).map(Some)
    }

    /// Pays out money from one of your accounts.
    #[graphql(directive = Access::apply(signed_in().cost(10)))]
    async fn withdrawal_initiate(
        &self,
        ctx: &Context<'_>,
        input: WithdrawalInitiateInput,
    ) -> Result<Option<WithdrawalInitiatePayload>> {
        let command = CashMovement {
            idempotency_key: input.idempotency_key.into(),
            account_id: ids::decode(IdKind::Account, &input.account_id)?,
            amount: input.amount.amount.as_str().to_owned(),
            currency: input.amount.currency.0.code().to_owned(),
            reference: input.reference,
            channel: input.channel.map(Into::into),
            wait_for: input.wait_for.into(),
        };
        WithdrawalInitiatePayload::of(facade(ctx)?.withdrawal_initiate(&guards::command(ctx)?, command).await).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vostro_kernel::RefusalCode as _;

    #[test]
    fn every_refusal_of_the_module_has_its_code_in_the_schema() {
        for code in Code::ALL {
            assert!(TransactionErrorCode::named(code.code()).is_some(), "{code:?}");
        }
    }
}
