//! Calls that are not made, because the caller may see nothing of what they ask for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde_json::{Value, json};
use vostro_kernel::{Actor, Role};
use vostro_schema::stitch::{Engine, InProcess, SubgraphRequest, SubgraphResponse, SubgraphTransport};

use crate::federation::{documents, told};
use crate::fixture::{Calls, accounts, payments, people};
use crate::harness::{Bank, SUPERGRAPH, person, scope};

const CUSTOMER: &[Role] = &[Role::Customer];

/// Counts how often a module is asked.
struct Counted<T> {
    module: T,
    calls: Arc<AtomicUsize>,
}

impl<T: SubgraphTransport> SubgraphTransport for Counted<T> {
    fn execute(&self, request: SubgraphRequest) -> BoxFuture<'_, SubgraphResponse> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.module.execute(request)
    }

    fn execute_stream(&self, request: SubgraphRequest) -> BoxStream<'static, SubgraphResponse> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.module.execute_stream(request)
    }
}

/// The three modules behind an engine, and how often each was asked.
struct Watched {
    bank: Bank,
    people: Arc<AtomicUsize>,
    accounts: Arc<AtomicUsize>,
    payments: Arc<AtomicUsize>,
}

impl Watched {
    fn open() -> Self {
        Self::over(SUPERGRAPH)
    }

    fn over(supergraph: &str) -> Self {
        let [people, accounts, payments] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
        let calls = Arc::new(Calls::default());
        let engine = Engine::over(supergraph)
            .unwrap()
            .module("people", Counted { module: InProcess(people::schema()), calls: people.clone() })
            .module("accounts", Counted { module: InProcess(accounts::schema(calls.clone())), calls: accounts.clone() })
            .module("payments", Counted { module: InProcess(payments::schema()), calls: payments.clone() })
            .build()
            .unwrap();
        Self { bank: Bank { engine, calls }, people, accounts, payments }
    }

    async fn ask_as(&self, actor: Actor, document: &str) -> Value {
        self.bank.ask_as(actor, document, Value::Null).await
    }

    /// How often people, accounts and payments were asked since this was asked last.
    fn taken(&self) -> [usize; 3] {
        [&self.people, &self.accounts, &self.payments].map(|calls| calls.swap(0, Ordering::SeqCst))
    }
}

/// The supergraph of an engine that knows nothing of who may ask, and so leaves everything to the modules.
fn unrestricted() -> String {
    let text: Vec<_> =
        SUPERGRAPH.lines().map(|line| if is_field(line) { open(line) } else { line.to_owned() }).collect();
    text.join("\n")
}

fn is_field(line: &str) -> bool {
    line.starts_with("  ") && line.contains(" @authenticated")
}

fn open(line: &str) -> String {
    let line = line.replace(" @authenticated", "");
    match line.split_once(" @requiresScopes(") {
        Some((before, after)) => format!("{before}{}", after.split_once(')').unwrap().1),
        None => line,
    }
}

/// The field with one more of what the supergraph says about it.
fn restricted(field: &str, directives: &str) -> String {
    let found: Vec<_> = SUPERGRAPH.lines().filter(|line| line.trim_start().starts_with(field)).collect();
    let [line] = found[..] else { panic!("{field}: {found:?}") };
    SUPERGRAPH.replace(line, &format!("{line} {directives}"))
}

fn refused(body: &Value) -> Vec<(String, &str, &str)> {
    let errors = body["errors"].as_array().into_iter().flatten();
    let told = errors.map(|error| {
        let [code, module] = ["code", "module"].map(|name| error["extensions"][name].as_str().unwrap_or_default());
        (error["path"].to_string(), code, module)
    });
    told.collect()
}

#[tokio::test]
async fn a_forbidden_root_field_is_not_asked_for_and_those_of_other_modules_answer() {
    let bank = Watched::open();
    let body = bank.ask_as(Actor::ANONYMOUS, "{ a: me { name } accounts { id } b: me { id } }").await;
    assert_eq!(body["data"], json!({"a": null, "accounts": [{"id": "acc_1"}, {"id": "acc_2"}], "b": null}));
    let expected = ["a", "b"].map(|key| (format!("[\"{key}\"]"), "UNAUTHENTICATED", "people"));
    assert_eq!(refused(&body), expected);
    assert_eq!(bank.taken(), [0, 1, 0]);
}

#[tokio::test]
async fn an_operation_of_forbidden_fields_alone_asks_nobody() {
    let bank = Watched::open();
    let query = "{ a: me { name } b: me { id } }";
    assert!(bank.bank.passes_through(query));
    let body = bank.ask_as(Actor::ANONYMOUS, query).await;
    assert_eq!(body["data"], json!({"a": null, "b": null}));
    assert_eq!(refused(&body).len(), 2, "{body}");
    assert_eq!(bank.taken(), [0, 0, 0]);
}

#[tokio::test]
async fn a_forbidden_field_beside_an_open_one_of_its_module_is_the_modules_to_refuse() {
    let bank = Watched::open();
    let body = bank.ask_as(Actor::ANONYMOUS, "{ me { name } hello }").await;
    assert_eq!(body["data"], json!({"me": null, "hello": "hello you"}));
    assert_eq!(refused(&body), [("[\"me\"]".to_owned(), "UNAUTHENTICATED", "people")]);
    assert_eq!(bank.taken(), [1, 0, 0]);
}

#[tokio::test]
async fn a_forbidden_command_is_not_sent() {
    let bank = Watched::open();
    for (actor, code) in [(Actor::ANONYMOUS, "UNAUTHENTICATED"), (person(CUSTOMER), "FORBIDDEN")] {
        let body = bank.ask_as(actor, "mutation { again: freeze { number owner { name } } }").await;
        assert_eq!(body["data"], json!({"again": null}));
        assert_eq!(refused(&body), [("[\"again\"]".to_owned(), code, "accounts")]);
        assert_eq!(bank.taken(), [0, 0, 0], "{code}");
    }
}

#[tokio::test]
async fn a_forbidden_command_leaves_the_one_beside_it_to_be_carried_out_once() {
    let bank = Watched::open();
    let document = "mutation { freeze { number }
        pay(input: {idempotencyKey: \"k\", amount: {amount: \"1.00\", currency: \"EUR\"}}) { number } }";
    let body = bank.ask_as(person(CUSTOMER), document).await;
    assert_eq!(body["data"], json!({"freeze": null, "pay": {"number": 1}}));
    assert_eq!(refused(&body), [("[\"freeze\"]".to_owned(), "FORBIDDEN", "accounts")]);
    assert_eq!(bank.bank.paid(), 1);
}

#[tokio::test]
async fn a_forbidden_field_of_entities_is_refused_at_each_and_its_module_not_asked() {
    let bank = Watched::open();
    let body = bank.ask_as(person(CUSTOMER), "{ accounts { number owner { id email } } }").await;
    assert_eq!(
        body["data"]["accounts"],
        json!([
            {"number": "00acc_1", "owner": {"id": "usr_1", "email": null}},
            {"number": "00acc_2", "owner": {"id": "usr_2", "email": null}}
        ])
    );
    let at = |index| (format!("[\"accounts\",{index},\"owner\",\"email\"]"), "FORBIDDEN", "people");
    assert_eq!(refused(&body), [at(0), at(1)]);
    assert_eq!(bank.taken(), [0, 1, 0]);
}

#[tokio::test]
async fn an_entity_at_several_places_is_refused_at_each_of_them() {
    let bank = Watched::open();
    let document = "{ payments(first: 2) { source { owner { email } } destination { owner { email } } } }";
    let body = bank.ask_as(person(CUSTOMER), document).await;
    let mut paths: Vec<_> = refused(&body).into_iter().map(|(path, ..)| path).collect();
    paths.sort();
    let at = |index: usize, end| format!("[\"payments\",{index},\"{end}\",\"owner\",\"email\"]");
    assert_eq!(paths, [at(0, "destination"), at(0, "source"), at(1, "destination"), at(1, "source")]);
    assert_eq!(bank.taken(), [0, 1, 1]);
}

#[tokio::test]
async fn a_forbidden_field_beside_an_open_one_of_the_same_entity_is_the_modules_to_refuse() {
    let bank = Watched::open();
    let body = bank.ask_as(person(CUSTOMER), "{ account(id: \"acc_1\") { owner { name email } } }").await;
    assert_eq!(body["data"]["account"], json!({"owner": {"name": "Ada", "email": null}}));
    assert_eq!(bank.taken(), [1, 1, 0]);
}

#[tokio::test]
async fn whoever_may_ask_is_answered_by_the_module() {
    let bank = Watched::open();
    let body = bank.ask_as(person(&[Role::Admin]), "{ me { id } accounts { owner { email } } }").await;
    assert_eq!(body.get("errors"), None, "{body}");
    assert_eq!(body["data"]["accounts"][0]["owner"]["email"], "Ada@example.org");
    assert_eq!(bank.taken(), [2, 1, 0]);
    let body = bank.ask_as(person(&[Role::Operator]), "mutation { freeze { id } }").await;
    assert_eq!(body, json!({"data": {"freeze": {"id": "acc_1"}}}));
}

#[tokio::test]
async fn a_forbidden_field_is_forbidden_where_its_module_does_not_run() {
    let engine = Engine::over(SUPERGRAPH).unwrap().build().unwrap();
    let bank = Bank { engine, calls: Arc::default() };
    assert_eq!(bank.code("{ me { id } }").await, "UNAUTHENTICATED");
    assert_eq!(bank.code("{ hello }").await, "MODULE_UNAVAILABLE");
}

#[tokio::test]
async fn a_refusal_that_its_module_records_is_left_to_it() {
    let bank = Watched::over(&restricted("freeze: ", "@tag(name: \"recorded\")"));
    bank.ask_as(person(CUSTOMER), "mutation { freeze { id } }").await;
    assert_eq!(bank.taken(), [0, 1, 0], "it hears of the attempt");
    bank.ask_as(Actor::ANONYMOUS, "mutation { freeze { id } }").await;
    assert_eq!(bank.taken(), [0, 0, 0], "nobody is nobody to record");
}

#[tokio::test]
async fn a_field_that_cannot_be_null_is_left_to_its_module() {
    let bank = Watched::over(&restricted("hello(name: String): String!", "@authenticated"));
    bank.ask_as(Actor::ANONYMOUS, "{ hello }").await;
    assert_eq!(bank.taken(), [1, 0, 0]);
}

#[tokio::test]
async fn a_role_that_the_engine_does_not_know_is_left_to_the_module() {
    let bank = Watched::over(&SUPERGRAPH.replace("[[\"OPERATOR\"]]", "[[\"JANITOR\"]]"));
    bank.ask_as(person(CUSTOMER), "mutation { freeze { id } }").await;
    assert_eq!(bank.taken(), [0, 1, 0]);
}

#[tokio::test]
async fn a_field_that_several_modules_answer_is_left_to_them() {
    let both = SUPERGRAPH.replace("me: User @join__field(graph: PEOPLE)", "me: User");
    assert_ne!(both, SUPERGRAPH);
    let bank = Watched::over(&both);
    bank.ask_as(Actor::ANONYMOUS, "{ me { id } }").await;
    assert_eq!(bank.taken().iter().sum::<usize>(), 1);
}

#[tokio::test]
async fn a_forbidden_field_under_a_condition_is_refused_when_it_is_asked_for() {
    let bank = Watched::open();
    let document =
        "query($a: Boolean!, $b: Boolean!) { one: me @include(if: $a) { id } ... @skip(if: $b) { two: me { id } } }";
    for (a, b, expected) in [
        (true, false, json!({"one": null, "two": null})),
        (true, true, json!({"one": null})),
        (false, false, json!({"two": null})),
        (false, true, json!({})),
    ] {
        let body = bank.bank.ask_as(Actor::ANONYMOUS, document, json!({"a": a, "b": b})).await;
        assert_eq!(body["data"], expected);
        assert_eq!(refused(&body).len(), expected.as_object().unwrap().len(), "{body}");
        let asked = bank.taken();
        assert!(asked == [0, 0, 0] || expected == json!({}), "{asked:?} for {expected}");
    }
}

#[tokio::test]
async fn a_forbidden_subscription_is_not_opened() {
    let (bank, unpruned) = (Watched::open(), Watched::over(&unrestricted()));
    let document = "subscription { mine: private }";
    let events = async |bank: &Watched| {
        let events = bank.bank.events(document).await.into_iter().map(told);
        events.collect::<Vec<_>>()
    };
    assert_eq!(events(&bank).await, events(&unpruned).await);
    assert_eq!((bank.taken(), unpruned.taken()), ([0, 0, 0], [0, 1, 0]));
    let prepared = bank.bank.engine.prepare(document, None).unwrap();
    let replies = bank.bank.engine.subscribe(prepared, Default::default(), scope(person(CUSTOMER)));
    let bodies: Vec<_> = replies.map(|reply| String::from_utf8(reply.body).unwrap()).collect().await;
    assert_eq!(bodies, [r#"{"data":{"mine":1}}"#]);
}

#[tokio::test]
async fn an_answer_is_the_same_whether_the_module_was_asked_or_not() {
    let (pruned, unpruned) = (Watched::open(), Watched::over(&unrestricted()));
    let mut documents = documents(pruned.bank.engine.planner().api_schema());
    let more = [
        "{ me { id email } accounts { owner { email } } hello }",
        "{ a: me { name } b: me { ...u } } fragment u on User { id email }",
        "{ payments(first: 3) { source { owner { email } } destination { owner { id email } } fee } }",
        "{ cashMovements { account { owner { mail: email } } } search { ... on Payment { source { owner { email } } } } }",
        "{ account(id: \"acc_1\") { owner { a: email b: email } } }",
        "{ account(id: \"none\") { owner { email } } me { id } }",
        "mutation { freeze { owner { email } } other: freeze { id } }",
    ];
    documents.extend(more.map(str::to_owned));
    let people = [&[][..], CUSTOMER, &[Role::Operator], &[Role::Admin], &Role::ALL];
    let mut spared = 0;
    for actor in [Actor::ANONYMOUS].into_iter().chain(people.map(person)) {
        for document in &documents {
            let answer = told(pruned.ask_as(actor, document).await);
            assert_eq!(answer, told(unpruned.ask_as(actor, document).await), "{document} as {actor:?}");
            let [without, with] = [pruned.taken(), unpruned.taken()].map(|calls| calls.iter().sum::<usize>());
            assert!(without <= with, "{document} as {actor:?}");
            spared += with - without;
        }
    }
    assert!(spared > 20, "only {spared} calls fewer");
}

/// Answers always the same.
struct Says(&'static str);

impl SubgraphTransport for Says {
    fn execute(&self, _: SubgraphRequest) -> BoxFuture<'_, SubgraphResponse> {
        let data = serde_json::from_str(self.0).unwrap();
        Box::pin(async { SubgraphResponse { data, errors: Vec::new() } })
    }

    fn execute_stream(&self, _: SubgraphRequest) -> BoxStream<'static, SubgraphResponse> {
        futures::stream::empty().boxed()
    }
}

#[tokio::test]
async fn a_forbidden_field_of_an_object_that_its_module_would_not_show_is_refused_all_the_same() {
    let owner = r#"{"account": {"owner": {"__typename": "User", "id": "usr_9"}}}"#;
    let answer = async |supergraph: &str| {
        let engine = Engine::over(supergraph).unwrap();
        let engine = engine.module("accounts", Says(owner)).module("people", InProcess(people::schema()));
        let bank = Bank { engine: engine.build().unwrap(), calls: Arc::default() };
        bank.ask_as(person(CUSTOMER), "{ account(id: \"acc_9\") { owner { id email } } }", Value::Null).await
    };
    let (pruned, unpruned) = (answer(SUPERGRAPH).await, answer(&unrestricted()).await);
    assert_eq!(pruned["data"], json!({"account": {"owner": {"id": "usr_9", "email": null}}}));
    assert_eq!(pruned["data"], unpruned["data"]);
    assert_eq!(refused(&pruned), [("[\"account\",\"owner\",\"email\"]".to_owned(), "FORBIDDEN", "people")]);
    assert_eq!(unpruned.get("errors"), None);
}

#[tokio::test]
async fn a_refused_field_costs_what_it_costs_when_its_module_refuses_it() {
    let (pruned, unpruned) = (Watched::open(), Watched::over(&unrestricted()));
    for document in ["{ a: me { name } b: me { id } }", "{ me { id } accounts { owner { email } } }"] {
        let spent = async |bank: &Watched| {
            let prepared = bank.bank.engine.prepare(document, None).unwrap();
            bank.bank.engine.execute(&prepared, Default::default(), scope(Actor::ANONYMOUS)).await.spent
        };
        assert_eq!(spent(&pruned).await, spent(&unpruned).await, "{document}");
    }
}
