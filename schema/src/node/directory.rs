use async_graphql::{Error, Result};
use uuid::Uuid;
use vostro_account::Accounts;
use vostro_auth::Auth;
use vostro_kernel::RequestContext;
use vostro_kernel::ids::IdKind;
use vostro_notification::Notifications;
use vostro_transaction::Transactions;

/// Knows whom to ask whether an object is there for somebody.
#[derive(Clone)]
pub struct Directory {
    pub auth: Auth,
    pub account: Accounts,
    pub transaction: Transactions,
    pub notification: Notifications,
}

impl Directory {
    /// Which of these objects the caller may see: one question to each module that owns some of them, side by side.
    pub(super) async fn visible(
        &self,
        context: &RequestContext,
        wanted: &[(IdKind, Uuid)],
    ) -> Result<Vec<(IdKind, Uuid)>> {
        let of = |kind: IdKind| wanted.iter().filter(|(own, _)| *own == kind).map(|(_, id)| *id).collect::<Vec<_>>();
        let (users, accounts) = (of(IdKind::User), of(IdKind::Account));
        let (transactions, notifications) = (of(IdKind::Transaction), of(IdKind::Notification));
        let statements = of(IdKind::Statement);
        let (users, accounts, transactions, notifications, statements) = futures::try_join!(
            ask(!users.is_empty(), async {
                let found = self.auth.users_by_id(context, &users).await.map_err(crate::auth::failure)?;
                Ok(found.into_iter().map(|user| user.id).collect())
            }),
            ask(!accounts.is_empty(), async {
                let found = self.account.accounts_by_id(context, &accounts).await.map_err(crate::account::failure)?;
                Ok(found.into_iter().map(|account| account.id).collect())
            }),
            ask(!transactions.is_empty(), async {
                let found = self.transaction.transactions_by_id(context, &transactions).await;
                Ok(found.map_err(crate::transaction::failure)?.into_iter().map(|found| found.id).collect())
            }),
            ask(!notifications.is_empty(), async {
                self.notification.visible_ids(context, &notifications).await.map_err(crate::notification::failure)
            }),
            ask(!statements.is_empty(), async {
                let found =
                    self.account.statements_by_id(context, &statements).await.map_err(crate::account::failure)?;
                Ok(found.into_iter().map(|statement| statement.id).collect())
            }),
        )?;
        let found = [
            (IdKind::User, users),
            (IdKind::Account, accounts),
            (IdKind::Transaction, transactions),
            (IdKind::Notification, notifications),
            (IdKind::Statement, statements),
        ];
        Ok(found.into_iter().flat_map(|(kind, ids)| ids.into_iter().map(move |id| (kind, id))).collect())
    }
}

/// A module is only asked when there is something to ask it.
async fn ask(needed: bool, question: impl Future<Output = Result<Vec<Uuid>, Error>>) -> Result<Vec<Uuid>, Error> {
    if needed { question.await } else { Ok(Vec::new()) }
}
