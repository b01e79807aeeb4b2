use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use vostro_account::{AccountError, AccountErrorCode as Code, OpenAccount, domain};
use vostro_kernel::Role;

use super::statement::{
    StatementCancelInput, StatementCancelPayload, StatementGenerateInput, StatementGeneratePayload,
};
use super::types::{Account, Product};
use super::{facade, failure};
use crate::access::{Access, only, signed_in};
use crate::guards;
use crate::ids::{self, IdKind};
use crate::scalars::{CurrencyCode, IdempotencyKey, MoneyInput};

crate::user_errors! {
    /// Why a command on an account was refused.
    pub AccountUserError, AccountErrorCode {
        /// Your roles do not allow the command. The caller sees the top-level error `FORBIDDEN`, the audit log this.
        ///
        /// Have an administrator assign the role, or leave it to somebody who has it.
        AccForbidden,
        /// No account with this id, or not one of yours.
        ///
        /// Take an id from `accounts`.
        AccNotFound,
        /// The account is frozen.
        ///
        /// Wait until the bank lifts the freeze (`accountUnfreeze`).
        AccFrozen,
        /// The account is not frozen.
        ///
        /// Nothing is to be done.
        AccNotFrozen,
        /// The account is closed.
        ///
        /// Use another account: a closed one stays closed.
        AccClosed,
        /// Only an empty account can be closed.
        ///
        /// Transfer the balance, or pay in what is owed; then close it.
        AccCloseNonZero,
        /// Money of the account is reserved.
        ///
        /// Wait until the account's payments have ended; then close it.
        AccCloseHasHolds,
        /// The bank does not keep accounts in this currency.
        ///
        /// Open it in another currency.
        AccCurrencyUnsupported,
        /// The amount is not in the account's currency.
        ///
        /// Give the amount in the account's currency.
        AccCurrencyMismatch,
        /// Customers cannot have this product.
        ///
        /// Open another product.
        AccProductNotOffered,
        /// The bank's own accounts cannot be changed this way.
        ///
        /// Take an account of a customer.
        AccInternal,
        /// The product has no overdraft.
        ///
        /// Take an account of a product that has one.
        AccOverdraftNotOffered,
        /// The limit is negative or too large.
        ///
        /// Give a smaller limit, or zero.
        AccOverdraftOutOfRange,
        /// The account is overdrawn by more than the new limit.
        ///
        /// Give a limit that covers what is used, or have it paid in first.
        AccOverdraftExceeded,
        /// The name is empty or too long.
        ///
        /// Give one line of 1 to 100 characters, or no name.
        AccNameInvalid,
        /// The reason is empty or too long.
        ///
        /// Give one line of 1 to 500 characters.
        AccReasonInvalid,
        /// There is no account number left.
        ///
        /// Tell the bank's operators.
        AccNumbersExhausted,
        /// No statement with this id, or not one of an account of yours.
        ///
        /// Take an id from the account's `statements`.
        AccStatementNotFound,
        /// Another statement of the account is being prepared.
        ///
        /// Wait for it (`statementUpdated`), or end it with `statementCancel`.
        AccStatementInPreparation,
        /// The statement is ready, or has ended.
        ///
        /// Ask for a new one with `statementGenerate` where one is needed.
        AccStatementEnded,
        /// The period ends before it begins, or has more than 366 days.
        ///
        /// Correct its days, or ask for several statements.
        AccPeriodInvalid,
        /// The last day of the period is not over.
        ///
        /// Ask again an hour after that day's midnight UTC, or for a shorter period.
        AccPeriodNotOver,
        /// The idempotency key is missing or malformed.
        ///
        /// Make a key of 1 to 128 visible ASCII characters for each command, and repeat it under the same one.
        IdempotencyKeyRequired,
        /// The idempotency key belongs to an earlier command with another input.
        ///
        /// Take a new key for another command; to repeat the earlier one, send its input unchanged.
        IdempotencyKeyReused,
    }
}

/// What is wanted of a new account.
#[derive(Debug, InputObject)]
pub struct AccountOpenInput {
    idempotency_key: IdempotencyKey,
    product: Product,
    currency: CurrencyCode,
    name: Option<String>,
}

/// An account to freeze, and why.
#[derive(Debug, InputObject)]
pub struct AccountFreezeInput {
    account_id: ID,
    reason: String,
}

/// An account to unfreeze, and why.
#[derive(Debug, InputObject)]
pub struct AccountUnfreezeInput {
    account_id: ID,
    reason: String,
}

/// An account to close.
#[derive(Debug, InputObject)]
pub struct AccountCloseInput {
    account_id: ID,
}

/// How far an account may go below zero.
#[derive(Debug, InputObject)]
pub struct OverdraftArrangeInput {
    account_id: ID,
    limit: MoneyInput,
}

macro_rules! payloads {
    ($($name:ident)+) => { $(
        /// The account as committed, or why nothing was done.
        #[derive(Debug, SimpleObject)]
        pub struct $name {
            account: Option<Account>,
            user_errors: Vec<AccountUserError>,
        }

        impl $name {
            fn of(result: Result<domain::Account, AccountError>) -> Result<Self> {
                match result {
                    Ok(account) => Ok(Self { account: Some(Account(Arc::new(account))), user_errors: Vec::new() }),
                    Err(AccountError::Refused(refusal)) if refusal.code != Code::Forbidden => {
                        Ok(Self { account: None, user_errors: vec![AccountUserError::of(refusal)?] })
                    }
                    Err(error) => Err(failure(error)),
                }
            }
        }
    )+ };
}
payloads! { AccountOpenPayload AccountFreezePayload AccountUnfreezePayload AccountClosePayload OverdraftArrangePayload }

/// Who may freeze, unfreeze and lend.
const DECIDERS: &[Role] = &[Role::Operator, Role::ComplianceOfficer];

/// Changing accounts.
pub struct Mutation;

#[Object(name = "Mutation")]
impl Mutation {
    /// Opens a further account for you.
    #[graphql(directive = Access::apply(signed_in().cost(10)))]
    async fn account_open(&self, ctx: &Context<'_>, input: AccountOpenInput) -> Result<Option<AccountOpenPayload>> {
        let asked = OpenAccount {
            product: input.product.into(),
            currency: input.currency.0,
            name: input.name,
            idempotency_key: input.idempotency_key.as_str().to_owned(),
        };
        AccountOpenPayload::of(facade(ctx)?.open(&guards::command(ctx)?, &asked).await).map(Some)
    }

    /// Stops all payments from and to an account. For operators and compliance officers.
    #[graphql(directive = Access::apply(only(DECIDERS).recorded().cost(10)))]
    async fn account_freeze(
        &self,
        ctx: &Context<'_>,
        input: AccountFreezeInput,
    ) -> Result<Option<AccountFreezePayload>> {
        let id = ids::decode(IdKind::Account, &input.account_id)?;
        AccountFreezePayload::of(facade(ctx)?.freeze(&guards::command(ctx)?, id, &input.reason).await).map(Some)
    }

    /// Allows payments again. For operators and compliance officers.
    #[graphql(directive = Access::apply(only(DECIDERS).recorded().cost(10)))]
    async fn account_unfreeze(
        &self,
        ctx: &Context<'_>,
        input: AccountUnfreezeInput,
    ) -> Result<Option<AccountUnfreezePayload>> {
        let id = ids::decode(IdKind::Account, &input.account_id)?;
        AccountUnfreezePayload::of(facade(ctx)?.unfreeze(&guards::command(ctx)?, id, &input.reason).await).map(Some)
    }

    /// Closes an empty account for good. For its owner and operators.
    #[graphql(directive = Access::apply(signed_in().cost(10)))]
    async fn account_close(&self, ctx: &Context<'_>, input: AccountCloseInput) -> Result<Option<AccountClosePayload>> {
        let id = ids::decode(IdKind::Account, &input.account_id)?;
        AccountClosePayload::of(facade(ctx)?.close(&guards::command(ctx)?, id).await).map(Some)
    }

    /// Agrees on an overdraft limit; zero ends it. For operators and compliance officers.
    #[graphql(directive = Access::apply(only(DECIDERS).recorded().cost(10)))]
    async fn overdraft_arrange(
        &self,
        ctx: &Context<'_>,
        input: OverdraftArrangeInput,
    ) -> Result<Option<OverdraftArrangePayload>> {
        let id = ids::decode(IdKind::Account, &input.account_id)?;
        let limit = input.limit.to_money_or_fault()?;
        OverdraftArrangePayload::of(facade(ctx)?.overdraft_arrange(&guards::command(ctx)?, id, limit).await).map(Some)
    }

    /// Has a statement prepared, one at a time for each account; there is one of a period, whoever asks twice gets it
    /// again. It is written in the background: `statement` and `statementProgress` tell how far it is, and a holder who
    /// asked is told when it is ready.
    #[graphql(directive = Access::apply(signed_in().cost(50)))]
    async fn statement_generate(
        &self,
        ctx: &Context<'_>,
        input: StatementGenerateInput,
    ) -> Result<Option<StatementGeneratePayload>> {
        let asked = input.read()?;
        let statement = facade(ctx)?.generate_statement(&guards::command(ctx)?, &asked).await;
        StatementGeneratePayload::of(statement).map(Some)
    }

    /// Stops preparing a statement. For whoever asked for it, and operators.
    #[graphql(directive = Access::apply(signed_in().cost(10)))]
    async fn statement_cancel(
        &self,
        ctx: &Context<'_>,
        input: StatementCancelInput,
    ) -> Result<Option<StatementCancelPayload>> {
        let id = ids::decode(IdKind::Statement, &input.statement_id)?;
        StatementCancelPayload::of(facade(ctx)?.cancel_statement(&guards::command(ctx)?, id).await).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vostro_kernel::RefusalCode as _;

    #[test]
    fn every_refusal_of_the_module_has_its_code_in_the_schema() {
        for code in Code::ALL {
            assert!(AccountErrorCode::named(code.code()).is_some(), "{code:?}");
        }
    }
}
