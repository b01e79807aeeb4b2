use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use async_graphql::Variables;
use futures::future::join_all;
use vostro_account::Accounts;
use vostro_kernel::{Actor, RequestContext, SystemIds};
use vostro_messaging::Module as _;
use vostro_schema::account;
use vostro_schema::door::Authenticator as _;
use vostro_schema::modules::SUPERGRAPH;
use vostro_schema::scope::RequestScope;
use vostro_schema::stitch::{Bucket, Charge, Engine, Reply, Shortage, SubgraphRequest, SubgraphTransport, Throttle};

use super::witness::{Call, Notes, Witness, under_way};
use crate::app;
use crate::config::Config;
use crate::graphql;

/// The bank's modules in this process, on the bank's database: asked through the engine, or without it.
pub struct Inside {
    engine: Engine,
    notes: Notes,
    /// The ways to the modules, without a witness.
    modules: HashMap<String, Arc<dyn SubgraphTransport>>,
    accounts: Accounts,
    actor: Actor,
}

/// One operation through the engine.
pub struct Stitched {
    pub reply: Reply,
    pub took: Duration,
    /// How long no module was being asked.
    pub overhead: Duration,
    pub waves: Vec<Vec<Call>>,
}

impl Inside {
    /// Acts for whoever the token was given to.
    pub async fn open(config: &Config, token: &str) -> anyhow::Result<Self> {
        // The engine counts what it does, as it does in the bank.
        crate::telemetry::metrics();
        let modules = app::modules_at_rest(config)?;
        let missing = "the whole bank has all modules";
        let (auth, accounts) = (modules.auth.clone().context(missing)?, modules.account.clone().context(missing)?);
        auth.start().await?;
        let principal = auth.verifier().authenticate(Some(token)).await;
        let actor = principal.map_err(|fault| anyhow::anyhow!("the bank's token is not taken: {fault:?}"))?.actor;
        let notes = Notes::default();
        let mut engine = Engine::over(SUPERGRAPH)?;
        let mut ways = HashMap::new();
        for (name, transport) in graphql::of_modules(&modules) {
            engine = engine.module(name.clone(), Witness::new(&name, Arc::clone(&transport), notes.clone()));
            ways.insert(name, transport);
        }
        Ok(Self { engine: engine.build()?, notes, modules: ways, accounts, actor })
    }

    fn scope(&self) -> Arc<RequestScope> {
        let scope = RequestScope::new(RequestContext::of(self.actor, &SystemIds), Arc::new(SystemIds));
        Arc::new(scope.with_budget(Some(Arc::new(Wealth))))
    }

    /// Carries an operation out as the door does once it knows who is asking.
    pub async fn stitched(&self, document: &str, variables: &Variables) -> anyhow::Result<Stitched> {
        let (variables, scope) = (variables.clone(), self.scope());
        let started = Instant::now();
        let prepared = self.engine.prepare(document, None);
        let prepared = prepared.map_err(|errors| anyhow::anyhow!("refused: {errors:?}"))?;
        let reply = self.engine.execute(&prepared, variables, scope).await;
        let took = started.elapsed();
        ensure!(reply.code.is_none() && reply.has_data, "answered {}", String::from_utf8_lossy(&reply.body));
        let waves = self.notes.take();
        let overhead = took.saturating_sub(under_way(&waves));
        Ok(Stitched { reply, took, overhead, waves })
    }

    /// Asks the modules the same, wave by wave, with nothing in between.
    pub async fn directly(&self, waves: &[Vec<Call>]) -> anyhow::Result<Duration> {
        let (waves, scope) = (waves.to_vec(), self.scope());
        let started = Instant::now();
        for wave in waves {
            let ask = |call: Call| {
                let Call { module, operation, variables, .. } = call;
                let request = SubgraphRequest { operation, variables, scope: Arc::clone(&scope) };
                async move { self.modules.get(&*module).map(|way| way.execute(request))?.await.into() }
            };
            let answers: Vec<Option<vostro_schema::stitch::SubgraphResponse>> =
                join_all(wave.into_iter().map(ask)).await;
            ensure!(answers.iter().flatten().all(|answer| answer.errors.is_empty()), "a module failed");
        }
        Ok(started.elapsed())
    }

    /// The account module's own resolvers in a schema as async-graphql makes it, without any of ours around it.
    pub fn plain(&self) -> Plain<'_> {
        Plain { inside: self, schema: account::builder().data(self.accounts.clone()).finish() }
    }
}

/// A module's schema, executed by async-graphql alone.
pub struct Plain<'a> {
    inside: &'a Inside,
    schema: vostro_schema::stitch::subgraph::Subgraph<account::Query, account::Mutation, account::Subscription>,
}

impl Plain<'_> {
    /// From the text to the answer as JSON.
    pub async fn execute(&self, document: &str, variables: &Variables) -> anyhow::Result<(Vec<u8>, Duration)> {
        let (variables, scope) = (variables.clone(), self.inside.scope());
        let started = Instant::now();
        let request = async_graphql::Request::new(document).variables(variables).data(scope);
        let response = self.schema.execute(request).await;
        let body = serde_json::to_vec(&response)?;
        let took = started.elapsed();
        ensure!(response.errors.is_empty(), "answered {}", String::from_utf8_lossy(&body));
        Ok((body, took))
    }
}

/// A budget without end, which is asked and told as any other.
struct Wealth;

impl Charge for Wealth {
    fn charge(&self, _: u32) -> Result<(), Shortage> {
        Ok(())
    }

    fn settle(&self, _: u32) -> Throttle {
        let full = u32::MAX;
        Throttle { bucket: Bucket::Caller, maximum_available: full, currently_available: full, restore_rate: full }
    }
}
