//! Commands at every door of a bank: what is given once more at another door is not done again, and each door says the
//! same of it.

use std::net::SocketAddr;

use serde_json::{Value, json};
use vostro::client::{Connection, documents};

use super::alike::{UNHURRIED, comparable};
use super::parts::Parts;
use crate::support::people::transfer_input;
use crate::support::{Person, Staff, World};

const TRANSFER: &str = "mutation($input: TransferCreateInput!) { transferCreate(input: $input) {
    transaction { id kind status sequence amount { amount currency } reference initiatedAt completedAt
        source { id number owner { id displayName } } destination { __typename id } }
    replayed userErrors { code message field } } }";

const DEPOSIT: &str = "mutation($input: DepositRecordInput!) { depositRecord(input: $input) {
    transaction { id kind status amount { amount currency } destination { number owner { displayName } } }
    replayed userErrors { code message field } } }";

const OPEN: &str = "mutation($input: AccountOpenInput!) { accountOpen(input: $input) {
    account { id number name product currency status version owner { displayName } } userErrors { code message field } } }";

const CHOOSE: &str = "mutation($input: PreferencesUpdateInput!) { preferencesUpdate(input: $input) {
    preferences { topic channel enabled mandatory } userErrors { code message field } } }";

const RENAME: &str = "mutation($input: ProfileUpdateInput!) { profileUpdate(input: $input) {
    user { id displayName locale } userErrors { code message field } } }";

/// Of two modules, one after the other.
const CHOOSE_AND_TRANSFER: &str = "mutation($choice: PreferencesUpdateInput!, $input: TransferCreateInput!) {
    chosen: preferencesUpdate(input: $choice) { preferences { topic channel enabled } userErrors { code } }
    transferCreate(input: $input) {
        transaction { id status source { owner { displayName } } } replayed userErrors { code } } }";

/// Of two modules, of which the second refuses.
const RENAME_AND_DEPOSIT: &str = "mutation($name: ProfileUpdateInput!, $input: DepositRecordInput!) {
    profileUpdate(input: $name) { user { displayName } userErrors { code } }
    depositRecord(input: $input) { transaction { id } userErrors { code } } }";

const FREEZE: &str = "mutation($input: AccountFreezeInput!) { accountFreeze(input: $input) {
    account { id status } userErrors { code } } }";

const PAUSE: &str = "mutation($input: ConsumptionPauseInput!) { consumptionPause(input: $input) {
    changed userErrors { code } } }";

const ASSIGN: &str =
    "mutation($input: RoleAssignInput!) { roleAssign(input: $input) { user { id } userErrors { code } } }";

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Done,
    /// The module says why not.
    Refused(&'static str),
    /// The field is `null`, with an error.
    Forbidden(&'static str),
}

/// A command, and what comes of it for whoever gives it.
#[derive(Debug)]
struct Command {
    by: &'static str,
    text: &'static str,
    variables: Value,
    outcome: Outcome,
}

impl Command {
    /// What comes of it is what should, and is news.
    fn assert_first(&self, answer: &Value) {
        let payloads = answer["data"].as_object().unwrap_or_else(|| panic!("{self:?}: {answer}"));
        let (told, code) = match self.outcome {
            Outcome::Done => {
                assert_eq!(answer.get("errors"), None, "{self:?}: {answer}");
                for payload in payloads.values() {
                    assert_eq!(payload["userErrors"], json!([]), "{self:?}: {answer}");
                    assert_ne!(payload["replayed"], true, "{self:?}: {answer}");
                }
                return;
            }
            Outcome::Refused(code) => (payloads.values().next_back().map(|last| &last["userErrors"][0]["code"]), code),
            Outcome::Forbidden(code) => {
                assert!(payloads.values().any(Value::is_null), "{self:?}: {answer}");
                (Some(&answer["errors"][0]["extensions"]["code"]), code)
            }
        };
        assert_eq!(told, Some(&json!(code)), "{self:?}: {answer}");
    }

    /// The answer to the same command once more.
    fn repeated(&self, mut first: Value) -> Value {
        if matches!(self.outcome, Outcome::Done) {
            let payloads = first["data"].as_object_mut().into_iter().flatten();
            payloads
                .filter_map(|(_, payload)| payload.get_mut("replayed"))
                .for_each(|replayed| *replayed = json!(true));
        }
        first
    }
}

/// Customers with money, and staff.
struct People {
    staff: Staff,
    ada: Person,
    bob: Person,
}

impl People {
    async fn of(world: &World) -> Self {
        let staff = Staff::hire(world).await;
        let ada = Person::with_money(world, &staff, "ada", "100.00").await;
        let bob = Person::join(world, "bob").await;
        Self { staff, ada, bob }
    }

    async fn give(&self, command: &Command, door: SocketAddr) -> Value {
        let mut connection = Connection::open(door).await.expect("somebody listens");
        match command.by {
            "ada" => connection.log_in_with(&self.ada.token),
            "an operator" => connection.log_in_with(&self.staff.operator),
            _ => {}
        }
        connection.answer(command.text, command.variables.clone()).await.expect("an answer")
    }

    /// Those of one round, with keys of their own.
    fn commands(&self, round: usize) -> Vec<Command> {
        let Self { ada, bob, .. } = self;
        let transfer = |key: &str, amount| {
            transfer_input(&format!("{key}-{round}"), &ada.account, &bob.account, amount, "COMPLETED")
        };
        let to_itself = transfer_input(&format!("itself-{round}"), &ada.account, &ada.account, "1.00", "NONE");
        let deposit = |account: &str| {
            json!({"idempotencyKey": format!("cash-{round}"), "accountId": account, "waitFor": "COMPLETED",
                "amount": {"amount": "2.00", "currency": "EUR"}})
        };
        let open =
            json!({"idempotencyKey": format!("open-{round}"), "product": "SAVINGS", "currency": "EUR", "name": "Car"});
        let choice = json!({"topic": "PAYMENT_SENT", "channel": "EMAIL", "enabled": round % 2 == 1});
        let mandatory = json!({"topic": "SECURITY", "channel": "IN_APP", "enabled": false});
        let freeze = json!({"accountId": bob.account, "reason": "none of hers"});
        let with_input =
            |by, text, input: Value, outcome| Command { by, text, variables: json!({"input": input}), outcome };
        let (forbidden, nobody) = (Outcome::Forbidden("FORBIDDEN"), Outcome::Forbidden("UNAUTHENTICATED"));
        // None changes what an earlier one says.
        vec![
            with_input("ada", RENAME, json!({"displayName": format!("Ada {round}")}), Outcome::Done),
            with_input("ada", TRANSFER, transfer("transfer", "1.00"), Outcome::Done),
            with_input("an operator", DEPOSIT, deposit(&bob.account), Outcome::Done),
            with_input("ada", OPEN, open.clone(), Outcome::Done),
            with_input("ada", CHOOSE, choice.clone(), Outcome::Done),
            Command {
                by: "ada",
                text: CHOOSE_AND_TRANSFER,
                variables: json!({"choice": choice, "input": transfer("two", "0.50")}),
                outcome: Outcome::Done,
            },
            with_input("ada", TRANSFER, transfer("transfer", "3.00"), Outcome::Refused("IDEMPOTENCY_KEY_REUSED")),
            with_input("ada", TRANSFER, to_itself, Outcome::Refused("TXN_SELF_TRANSFER")),
            with_input("ada", CHOOSE, mandatory, Outcome::Refused("NTF_TOPIC_MANDATORY")),
            with_input("ada", FREEZE, freeze, forbidden),
            with_input("ada", PAUSE, json!({"module": "account", "reason": "none of hers"}), forbidden),
            with_input("ada", ASSIGN, json!({"userId": ada.user, "role": "ADMIN"}), forbidden),
            Command {
                by: "ada",
                text: RENAME_AND_DEPOSIT,
                variables: json!({"name": {"displayName": format!("Ada {round}")}, "input": deposit(&ada.account)}),
                outcome: forbidden,
            },
            with_input("nobody", TRANSFER, transfer("transfer", "1.00"), nobody),
            with_input("nobody", OPEN, open, nobody),
        ]
    }
}

/// Gives commands at each door first, and then at all of them once more.
pub async fn say_the_same_at(world: &World, doors: &[(&str, SocketAddr)], form: fn(Value) -> Value) {
    let people = People::of(world).await;
    for (round, (first_name, first_door)) in doors.iter().enumerate() {
        let commands = people.commands(round);
        let mut answers = Vec::new();
        for command in &commands {
            let answer = people.give(command, *first_door).await;
            command.assert_first(&answer);
            answers.push(command.repeated(form(answer)));
        }
        // What is still on its way would change what they say of people and accounts.
        world.leaves_nothing_behind().await;
        for (command, expected) in commands.iter().zip(&answers) {
            for (name, door) in doors {
                let again = form(people.give(command, *door).await);
                assert_eq!(&again, expected, "{command:?}, given at {first_name} and then at {name}");
            }
        }
    }
    world.leaves_nothing_behind().await;
    // Each once: 1.50 from one to the other, 2.00 in cash, and an account more.
    let rounds = u32::try_from(doors.len()).expect("a few doors");
    let euro = |cents: u32| format!("{}.{:02}", cents / 100, cents % 100);
    let balances = (people.ada.balance().await, people.bob.balance().await);
    assert_eq!(balances, (euro(10_000 - rounds * 150), euro(rounds * 350)));
    let mut connection = people.ada.connection().await;
    let accounts = connection.data(documents::MY_ACCOUNTS, json!({"first": 10})).await.expect("an answer");
    assert_eq!(accounts["accounts"]["nodes"].as_array().map(Vec::len), Some(1 + doors.len()), "{accounts}");
    world.proofs_hold().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_carried_out_once_and_answered_alike_by_a_bank_and_by_a_gateway_before_its_parts() {
    let world = World::create().await;
    let (_bank, parts) = tokio::join!(world.spawn_bank(&UNHURRIED), Parts::start_with(&world, &UNHURRIED));
    say_the_same_at(&world, &[("the bank", world.config.http.address), ("its gateway", parts.gateway)], comparable)
        .await;
}
