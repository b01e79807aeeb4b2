//! Who knows whether an object is there for somebody: the facades in this process, or subgraphs wherever they run.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Error, Name, Result, Value, Variables};
use async_trait::async_trait;
use uuid::Uuid;
use vostro_account::Accounts;
use vostro_auth::Auth;
use vostro_compliance::Compliance;
use vostro_kernel::RequestContext;
use vostro_kernel::ids::IdKind;
use vostro_notification::Notifications;
use vostro_transaction::Transactions;

use crate::faults::{internal, module_unavailable};
use crate::loader::Batch;
use crate::scope::RequestScope;
use crate::stitch::{SubgraphOperation, SubgraphRequest, SubgraphTransport};

/// Knows whom to ask whether an object is there for somebody.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Which of these objects the caller may see: one question to each module that owns some of them, side by side.
    ///
    /// # Errors
    /// The fault of a module that could not answer.
    async fn visible(&self, scope: &Arc<RequestScope>, wanted: &[(IdKind, Uuid)]) -> Result<Vec<(IdKind, Uuid)>>;
}

/// All modules in this process.
#[derive(Clone)]
pub struct Facades {
    pub auth: Auth,
    pub account: Accounts,
    pub transaction: Transactions,
    pub notification: Notifications,
    pub compliance: Compliance,
}

#[async_trait]
impl Directory for Facades {
    async fn visible(&self, scope: &Arc<RequestScope>, wanted: &[(IdKind, Uuid)]) -> Result<Vec<(IdKind, Uuid)>> {
        let context: &RequestContext = scope.context();
        let of = |kind: IdKind| wanted.iter().filter(|(own, _)| *own == kind).map(|(_, id)| *id).collect::<Vec<_>>();
        let (users, accounts) = (of(IdKind::User), of(IdKind::Account));
        let (transactions, notifications) = (of(IdKind::Transaction), of(IdKind::Notification));
        let statements = of(IdKind::Statement);
        let (violations, evidence) = (of(IdKind::Violation), of(IdKind::Evidence));
        let (users, accounts, transactions, notifications, statements, violations, evidence) = futures::try_join!(
            ask(!users.is_empty(), async {
                let found = self.auth.users_by_id(context, &users).await.map_err(crate::auth::failure)?;
                let found = found.into_iter().map(|user| (user.id, user.into()));
                Ok(learn(&crate::auth::batch(scope), found))
            }),
            ask(!accounts.is_empty(), async {
                let found = self.account.accounts_by_id(context, &accounts).await.map_err(crate::account::failure)?;
                let found = found.into_iter().map(|account| (account.id, account));
                Ok(learn(&crate::account::batch(scope), found))
            }),
            ask(!transactions.is_empty(), async {
                let found = self.transaction.transactions_by_id(context, &transactions).await;
                let found = found.map_err(crate::transaction::failure)?.into_iter();
                let found = found.map(|transaction| (transaction.id, transaction));
                Ok(learn(&crate::transaction::batch(scope), found))
            }),
            ask(!notifications.is_empty(), async {
                self.notification.visible_ids(context, &notifications).await.map_err(crate::notification::failure)
            }),
            ask(!statements.is_empty(), async {
                let found =
                    self.account.statements_by_id(context, &statements).await.map_err(crate::account::failure)?;
                let found = found.into_iter().map(|statement| (statement.id, Arc::new(statement)));
                Ok(learn(&crate::account::statement_batch(scope), found))
            }),
            ask(!violations.is_empty(), async {
                let found = self.compliance.violations_by_id(&scope.command(), &violations).await;
                let found = crate::compliance::shown(found)?.into_iter();
                let found = found.map(|violation| (violation.violation_id, violation));
                Ok(learn(&crate::compliance::violation_batch(scope), found))
            }),
            ask(!evidence.is_empty(), async {
                let found = self.compliance.evidence_by_id(&scope.command(), &evidence).await;
                let found = crate::compliance::shown(found)?.into_iter();
                let found = found.map(|evidence| (evidence.evidence_id, evidence));
                Ok(learn(&crate::compliance::evidence_batch(scope), found))
            }),
        )?;
        let found = [
            (IdKind::User, users),
            (IdKind::Account, accounts),
            (IdKind::Transaction, transactions),
            (IdKind::Notification, notifications),
            (IdKind::Statement, statements),
            (IdKind::Violation, violations),
            (IdKind::Evidence, evidence),
        ];
        Ok(found.into_iter().flat_map(|(kind, ids)| ids.into_iter().map(move |id| (kind, id))).collect())
    }
}

/// The ids of what was found. The rows are for the step of the query that shows more of them than that.
fn learn<V: Clone>(batch: &Batch<Uuid, V>, found: impl Iterator<Item = (Uuid, V)>) -> Vec<Uuid> {
    let found: Vec<_> = found.collect();
    let ids = found.iter().map(|(id, _)| *id).collect();
    batch.learn(found);
    ids
}

/// A module is only asked when there is something to ask it.
async fn ask(needed: bool, question: impl Future<Output = Result<Vec<Uuid>, Error>>) -> Result<Vec<Uuid>, Error> {
    if needed { question.await } else { Ok(Vec::new()) }
}

/// The types with an id that [`super::Node`] knows, and the subgraph that owns each.
const OWNERS: [(IdKind, &str, &str); 7] = [
    (IdKind::User, "User", "auth"),
    (IdKind::Account, "Account", "account"),
    (IdKind::Transaction, "Transaction", "transaction"),
    (IdKind::Notification, "Notification", "notification"),
    (IdKind::Violation, "Violation", "compliance"),
    (IdKind::Statement, "Statement", "account"),
    (IdKind::Evidence, "Evidence", "compliance"),
];

/// Modules in other processes, asked as a gateway asks for entities: what they do not show is not there.
pub struct Subgraphs {
    owners: Vec<(IdKind, Owner)>,
}

struct Owner {
    type_name: &'static str,
    operation: Arc<SubgraphOperation>,
    transport: Option<Arc<dyn SubgraphTransport>>,
}

impl Subgraphs {
    /// Asks the subgraphs by these names; what belongs to one that is missing cannot be found.
    ///
    /// # Errors
    /// Never: the operations are our own.
    pub fn new(transports: HashMap<String, Arc<dyn SubgraphTransport>>) -> Result<Self, async_graphql::parser::Error> {
        let mut owners = Vec::new();
        for (kind, type_name, subgraph) in OWNERS {
            let text = format!(
                "query($representations: [_Any!]!) {{ _entities(representations: $representations) {{ ... on {type_name} {{ id }} }} }}"
            );
            let document = async_graphql::parser::parse_query(&text)?;
            let operation = Arc::new(SubgraphOperation { text, document });
            owners.push((kind, Owner { type_name, operation, transport: transports.get(subgraph).cloned() }));
        }
        Ok(Self { owners })
    }
}

#[async_trait]
impl Directory for Subgraphs {
    async fn visible(&self, scope: &Arc<RequestScope>, wanted: &[(IdKind, Uuid)]) -> Result<Vec<(IdKind, Uuid)>> {
        let questions = self.owners.iter().map(|(kind, owner)| {
            let ids = wanted.iter().filter(move |(own, _)| own == kind).map(|(_, id)| *id).collect::<Vec<_>>();
            async move {
                let found = owner.visible(*kind, &ids, scope).await?;
                Ok::<_, Error>(found.into_iter().map(|id| (*kind, id)).collect::<Vec<_>>())
            }
        });
        Ok(futures::future::try_join_all(questions).await?.concat())
    }
}

impl Owner {
    async fn visible(&self, kind: IdKind, ids: &[Uuid], scope: &Arc<RequestScope>) -> Result<Vec<Uuid>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let transport = self.transport.as_ref().ok_or_else(module_unavailable)?;
        let representation = |id: &Uuid| {
            let fields = [("__typename", self.type_name.to_owned()), ("id", kind.encode(*id))];
            Value::Object(fields.map(|(name, value)| (Name::new(name), Value::String(value))).into_iter().collect())
        };
        let mut variables = Variables::default();
        variables.insert(Name::new("representations"), Value::List(ids.iter().map(representation).collect()));
        let (operation, scope) = (Arc::clone(&self.operation), Arc::clone(scope));
        let answer = transport.execute(SubgraphRequest { operation, variables, scope }).await;
        if let Some(error) = answer.errors.into_iter().next() {
            return Err(Error { message: error.message, source: error.source, extensions: error.extensions });
        }
        let Value::Object(mut data) = answer.data else { return Err(internal("entities without data")) };
        match data.shift_remove("_entities") {
            Some(Value::List(found)) if found.len() == ids.len() => {
                let there = ids.iter().zip(found).filter(|(_, entity)| *entity != Value::Null);
                Ok(there.map(|(id, _)| *id).collect())
            }
            _ => Err(internal("entities that are none")),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;
    use futures::stream::BoxStream;
    use futures::{FutureExt as _, StreamExt as _};
    use vostro_kernel::{Actor, SystemIds};

    use super::*;
    use crate::stitch::SubgraphResponse;

    /// Shows whatever it is asked for.
    struct Open;

    impl SubgraphTransport for Open {
        fn execute(&self, request: SubgraphRequest) -> BoxFuture<'_, SubgraphResponse> {
            let wanted = request.variables.get("representations").cloned().unwrap_or_default();
            let data = Value::Object([(Name::new("_entities"), wanted)].into_iter().collect());
            futures::future::ready(SubgraphResponse { data, errors: Vec::new() }).boxed()
        }

        fn execute_stream(&self, _: SubgraphRequest) -> BoxStream<'static, SubgraphResponse> {
            futures::stream::empty().boxed()
        }
    }

    #[tokio::test]
    async fn whatever_is_a_node_is_asked_of_the_process_that_owns_it() {
        let processes = OWNERS.map(|(_, _, name)| (name.to_owned(), Arc::new(Open) as Arc<dyn SubgraphTransport>));
        let subgraphs = Subgraphs::new(HashMap::from(processes)).expect("operations that can be parsed");
        let wanted: Vec<_> = IdKind::ALL.map(|kind| (kind, Uuid::nil())).to_vec();
        let scope = RequestScope::new(RequestContext::of(Actor::ANONYMOUS, &SystemIds), Arc::new(SystemIds));
        let found = subgraphs.visible(&Arc::new(scope), &wanted).await.expect("an answer");
        assert_eq!(found, wanted);
    }
}
