use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use vostro_kernel::{Money, Role};

use crate::cli::staff::ensure_staff;
use crate::client::{Connection, documents};
use crate::config::Config;
use crate::demo::{Lane, Lanes, Payment, Person, bar, log_in, password, register};

/// Customers with many accounts each, all with money on them.
pub struct Town {
    /// Access token and accounts of each customer.
    pub customers: Vec<(String, Vec<String>)>,
    /// Every account of the town.
    pub accounts: Vec<String>,
    pub currency: String,
}

const CUSTOMERS: usize = 8;
/// What each account starts with: no transfer of the benchmark is refused.
const FUNDS_MINOR: i64 = 1_000_000_000;

/// Registers customers and opens at least so many accounts for them together, each with a deposit.
pub async fn settle(config: &Config, accounts: u32) -> anyhow::Result<Town> {
    let run = uuid::Uuid::now_v7().simple().to_string();
    let operator = format!("bench-{run}@bank.example");
    let secret = password();
    ensure_staff(config, &operator, "Benchmark", &secret, Role::Operator).await?;
    let counter = log_in(config, &operator, &secret).await?;
    let people: Vec<Person> = (0..CUSTOMERS)
        .map(|index| Person {
            email: format!("bench-{run}-{index}@town.example"),
            name: format!("Customer {index}"),
            password: secret.clone(),
        })
        .collect();
    let progress = bar("Customers register", people.len());
    register(config.http.address, people.clone(), &progress).await?;
    progress.finish();
    let currency = config.account.default_currency;
    let each = usize::try_from(accounts)?.div_ceil(CUSTOMERS);
    let progress = bar("Accounts are opened", each * CUSTOMERS);
    let mut opening = tokio::task::JoinSet::new();
    for person in people {
        let (config, progress) = (config.clone(), progress.clone());
        opening.spawn(async move {
            let token = log_in(&config, &person.email, &person.password).await?;
            let mut connection = Connection::open(config.http.address).await?;
            connection.log_in_with(&token);
            let mut accounts = Vec::with_capacity(each);
            for number in 0..each {
                accounts.push(open_account(&mut connection, currency.code(), number).await?);
                progress.inc(1);
            }
            anyhow::Ok((token, accounts))
        });
    }
    let mut customers = Vec::new();
    while let Some(opened) = opening.join_next().await {
        customers.push(opened??);
    }
    progress.finish();
    let accounts: Vec<String> = customers.iter().flat_map(|(_, accounts)| accounts.clone()).collect();
    let amount = json!({"amount": Money::new(FUNDS_MINOR, currency).to_decimal_string(), "currency": currency.code()});
    fund(config, &counter, &accounts, &amount).await?;
    Ok(Town { customers, accounts, currency: currency.code().to_owned() })
}

async fn open_account(connection: &mut Connection, currency: &str, number: usize) -> anyhow::Result<String> {
    let input = json!({"product": "CURRENT", "currency": currency, "idempotencyKey": format!("account-{number}")});
    let data = connection.data(documents::OPEN_ACCOUNT, json!({"input": input})).await?;
    let id = data["accountOpen"]["account"]["id"].as_str();
    Ok(id.with_context(|| format!("opening an account: {}", data["accountOpen"]["userErrors"]))?.to_owned())
}

/// A deposit on every account.
async fn fund(config: &Config, counter: &str, accounts: &[String], amount: &Value) -> anyhow::Result<()> {
    let lane = |account: &String| {
        let input = json!({
            "idempotencyKey": format!("funds-{account}"), "accountId": account, "amount": amount, "waitFor": "COMPLETED",
        });
        let payment = Payment { document: documents::DEPOSIT, field: "depositRecord", input, until_known: true };
        Lane { token: counter.to_owned(), payments: vec![payment] }
    };
    let progress = bar("Accounts are funded", accounts.len());
    let played = Lanes::to(config.http.address).play(accounts.iter().map(lane).collect(), &progress).await?;
    progress.finish();
    match played.iter().flatten().find(|payment| !payment.completed()) {
        None => Ok(()),
        Some(payment) => bail!("an account could not be funded: {:?}", payment.outcome),
    }
}
