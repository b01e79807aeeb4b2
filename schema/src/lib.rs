//! The GraphQL door of the bank: one sub-schema per module, stitched in process into one API.
//!
//! - [`access`], [`scalars`], [`ids`], [`connection`], [`user_error`], [`faults`], [`fresh`], [`guards`], [`loader`],
//!   [`live`], [`scope`]: what sub-schemas are written with; [`modules`] lists them;
//! - [`stitch`]: the federation engine (planner, executor, limits, introspection);
//! - [`door`]: HTTP, WebSocket, server-sent events, registered documents, budgets;
//! - [`contract`], [`reference`], [`errors_page`]: what people read about it, made from the code;
//! - [`hostile`]: documents that mean harm, for tests and the benchmark.
//!
//! # How a module writes its sub-schema
//!
//! A sub-schema is a federation subgraph that stands alone: it names no type of another module except by key. It lives
//! in a folder of its own and translates between GraphQL and the module's facade, nothing else. The complete recipe:
//!
//! ```
//! use std::sync::Arc;
//! use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject, Subscription};
//! use futures::Stream;
//! use vostro_schema::connection::{Page, PageArguments, PageRequest};
//! use vostro_schema::access::{Access, only, signed_in};
//! use vostro_schema::guards::{self, Authenticated};
//! use vostro_schema::ids::{self, IdKind};
//! use vostro_schema::loader::Batch;
//! use vostro_schema::scalars::{DateTime, IdempotencyKey, Money, MoneyInput};
//! use vostro_schema::stitch::InProcess;
//! use vostro_schema::stitch::subgraph::{self, Builder};
//! # use vostro_kernel::{Refusal, RefusalCode, RequestContext, Role};
//! # use uuid::Uuid;
//! # #[derive(Debug, Clone, Copy)] enum Code { NotFound }
//! # impl RefusalCode for Code { fn code(self) -> &'static str { "ACC_NOT_FOUND" } fn message(self) -> &'static str { "No such account." } }
//! # #[derive(Clone)] struct Row { id: Uuid, owner: Option<Uuid>, posted: vostro_kernel::Money }
//! # enum Failure { Refused(Refusal<Code>), Broken(String) }
//! # struct Facade;
//! # impl Facade {
//! #     async fn accounts_by_id(&self, _: &RequestContext, _: &[Uuid]) -> Result<Vec<Row>, String> { Ok(vec![]) }
//! #     async fn list(&self, _: &RequestContext, _: vostro_kernel::Page<Uuid>) -> Result<Vec<Row>, String> { Ok(vec![]) }
//! #     async fn arrange(&self, _: &RequestContext, _: Uuid, _: vostro_kernel::Money) -> Result<Row, Failure> { Err(Failure::Refused(Code::NotFound.into())) }
//! # }
//!
//! // 1. Entities: an object with `id: ID!`, found by key. Objects of other modules are stubs of their key.
//! struct Account(Row);
//!
//! #[Object]
//! impl Account {
//!     async fn id(&self) -> ID { ids::encode(IdKind::Account, self.0.id) }
//!     async fn posted(&self) -> Money { self.0.posted.into() }
//!     async fn owner(&self) -> Option<User> { self.0.owner.map(|id| User { id: ids::encode(IdKind::User, id) }) }
//! }
//!
//! #[derive(SimpleObject)]
//! #[graphql(unresolvable = "id")] // auth owns users; this module only knows their key
//! struct User { id: ID }
//!
//! // 2. Roots are called Query, Mutation and Subscription, and every field declares who may ask for it and its price. They hold nothing: the facade
//! //    is data of the schema, so that the schema can be written down without a database.
//! fn facade<'a>(ctx: &Context<'a>) -> Result<&'a Facade> {
//!     ctx.data::<Arc<Facade>>().map(AsRef::as_ref)
//! }
//!
//! struct Query;
//!
//! #[Object(name = "Query")]
//! impl Query {
//!     /// An entity resolver: `None` for what does not exist or is not the caller's. Federation calls it once per key; the
//!     /// batch asks the facade once for all of them.
//!     #[graphql(entity)]
//!     async fn account_by_key(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Account>> {
//!         guards::authenticated(ctx)?; // guards do not run on entity resolvers
//!         let id = ids::decode(IdKind::Account, &id)?;
//!         let ask = async |ids: Vec<Uuid>| {
//!             let rows = facade(ctx)?.accounts_by_id(guards::context(ctx)?, &ids).await;
//!             Ok(rows.map_err(vostro_schema::faults::internal)?.into_iter().map(|row| (row.id, row)).collect())
//!         };
//!         let row = Batch::<Uuid, Row>::of(guards::scope(ctx)?).load(id, ask).await?;
//!         Ok(row.map(Account))
//!     }
//!
//!     /// The account, if it is yours.
//!     #[graphql(directive = Access::apply(signed_in()))]
//!     async fn account(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Account>> {
//!         self.account_by_key(ctx, id).await
//!     }
//!
//!     /// Your accounts.
//!     #[graphql(directive = Access::apply(signed_in().page()))]
//!     async fn accounts(
//!         &self,
//!         ctx: &Context<'_>,
//!         first: Option<i32>,
//!         after: Option<String>,
//!         last: Option<i32>,
//!         before: Option<String>,
//!     ) -> Result<Option<Page<Account>>> {
//!         let page = PageRequest::<Uuid>::new("accounts", PageArguments { first, after, last, before })?;
//!         let rows = facade(ctx)?.list(guards::context(ctx)?, page.rows()).await;
//!         Ok(Some(page.connection(rows.map_err(vostro_schema::faults::internal)?, |row| row.id, Account)))
//!     }
//! }
//!
//! // 3. Mutations: one `input`, a payload of a nullable entity and `userErrors`. Refusals are data, faults are errors.
//! vostro_schema::user_errors! {
//!     /// Why a command on accounts was refused.
//!     pub AccountUserError, AccountErrorCode {
//!         /// No account with this id, or not one of yours.
//!         AccNotFound,
//!     }
//! }
//!
//! #[derive(InputObject)]
//! struct OverdraftArrangeInput { account_id: ID, limit: MoneyInput }
//!
//! #[derive(SimpleObject)]
//! struct OverdraftArrangePayload { account: Option<Account>, user_errors: Vec<AccountUserError> }
//!
//! struct Mutation;
//!
//! #[Object(name = "Mutation")]
//! impl Mutation {
//!     /// Agrees on an overdraft limit.
//!     #[graphql(directive = Access::apply(only(&[Role::Operator]).cost(10)))]
//!     async fn overdraft_arrange(&self, ctx: &Context<'_>, input: OverdraftArrangeInput)
//!         -> Result<Option<OverdraftArrangePayload>>
//!     {
//!         let id = ids::decode(IdKind::Account, &input.account_id)?;
//!         let limit = input.limit.to_money_or_fault()?;
//!         match facade(ctx)?.arrange(&guards::command(ctx)?, id, limit).await {
//!             Ok(row) => Ok(Some(OverdraftArrangePayload { account: Some(Account(row)), user_errors: vec![] })),
//!             Err(Failure::Refused(refusal)) => {
//!                 Ok(Some(OverdraftArrangePayload { account: None, user_errors: vec![AccountUserError::of(refusal)?] }))
//!             }
//!             Err(Failure::Broken(cause)) => Err(vostro_schema::faults::internal(cause)),
//!         }
//!     }
//! }
//!
//! // 4. Subscriptions: a stream; access is checked when it starts.
//! #[derive(SimpleObject)]
//! struct BalanceChange { account_id: ID, sequence: i64, posted: Money, occurred_at: DateTime }
//!
//! struct Changes;
//!
//! #[Subscription(name = "Subscription")]
//! impl Changes {
//!     /// The balance now, and then every change of it.
//!     #[graphql(guard = "Authenticated", directive = Access::apply(signed_in().cost(5)))]
//!     async fn balance_changed(&self, ctx: &Context<'_>, account_id: ID, after_sequence: Option<i64>)
//!         -> Result<impl Stream<Item = BalanceChange> + use<>>
//!     {
//!         let (_user, _after) = (guards::user_id(ctx)?, after_sequence);
//!         ids::decode(IdKind::Account, &account_id)?;
//!         Ok(futures::stream::empty())
//!     }
//! }
//!
//! // 5. One function builds it; whoever wires the bank adds the facade.
//! fn builder() -> Builder<Query, Mutation, Changes> {
//!     subgraph::begin(Query, Mutation, Changes)
//! }
//!
//! let schema = subgraph::finish(builder().data(Arc::new(Facade)));
//! let transport = InProcess(schema);               // Engine::over(supergraph)?.module("account", transport)
//! let sdl = subgraph::sdl(&subgraph::finish(builder())); // schema/sdl/account.graphql
//! # assert!(sdl.contains("type Account @key(fields: \"id\")"), "{sdl}");
//! # assert!(sdl.contains("type User @key(fields: \"id\", resolvable: false)"), "{sdl}");
//! # assert!(sdl.contains("type Subscription"), "{sdl}");
//! # assert!(sdl.contains("type AccountConnection @shareable"), "{sdl}");
//! # drop(transport);
//! ```
//!
//! What to keep in mind:
//!
//! - **Integers** in GraphQL have 32 bits. async-graphql writes `i64` as `Int`; sequences stay far below that.
//! - **Nullable means it may fail alone.** An error in a nullable field becomes `null` there, with the error beside the
//!   data; in a non-null field it takes the nearest nullable parent with it. Make entities and cross-module fields
//!   nullable, scalars of an entity non-null.
//! - **Errors without a code are hidden.** Use [`faults`] for what the client should read; everything else (`?` on a
//!   database error, [`faults::internal`]) is logged and shown as `INTERNAL_SERVER_ERROR`.
//! - **Entity keys**: exactly `@key(fields: "id")`, one `#[graphql(entity)]` resolver per owned type, with one argument
//!   named `id`. An `Err` from it fails all keys of the call; say `Ok(None)` for absent.
//! - **Shared value types** (`Money`, connections' `PageInfo`) come from this crate and are `@shareable`. A type of your
//!   own that another module also defines with the same name does not compose.
//! - Write doc comments: they are the API's documentation and part of the committed SDL.

//! # Wiring
//!
//! ```text
//! let engine = Engine::over(include_str!("../sdl/supergraph.graphql"))?
//!     .limits(limits)
//!     .module("account", InProcess(subgraph::finish(account::builder().data(accounts))))
//!     .build()?; // modules that are not named answer MODULE_UNAVAILABLE
//! let door = Door::new(engine, authenticator, ids, clock, DoorConfig::default());
//! let app = axum::Router::new().merge(door.router());
//! ```
//!
//! # When a sub-schema changes
//!
//! 1. `UPDATE_GOLDEN=1` with the test that calls [`stitch::sdl::assert_committed`] writes `schema/sdl/<module>.graphql`;
//! 2. `npm ci && npm run compose` in `schema/compose` writes `schema/sdl/supergraph.graphql`;
//! 3. the same test without the variable passes, and so do those that plan every field wherever a client can come to it
//!    ([`stitch::satisfiability`]).

pub mod access;
pub mod account;
pub mod auth;
pub mod compliance;
pub mod connection;
pub mod contract;
pub mod door;
pub mod errors_page;
pub mod faults;
pub mod federation;
pub mod fresh;
pub mod guards;
pub mod hostile;
pub mod ids;
pub mod live;
pub mod loader;
pub mod modules;
pub mod node;
pub mod notification;
pub mod operations;
pub mod reference;
pub mod scalars;
pub mod scope;
pub mod stitch;
pub mod transaction;
pub mod upload;
pub mod user_error;
