//! A generated day: salaries in the morning, rent, shopping, people paying each other, and everything a bank refuses.
//!
//! The same seed gives the same business outcome, although payments of different people happen at the same time: within
//! each part of the day, what one customer may spend depends on that customer's own payments only.

use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use vostro_kernel::{Currency, Money};

use super::DemoOptions;
use super::customers::{self, Person};
use super::lanes::{Lane, Lanes, Outcome, Payment, Played};
use super::progress::bar;
use super::report::Scenario;
use super::staff::{self, Staff};
use crate::client::{Connection, documents};
use crate::config::Config;

const SHOPS: usize = 3;
const FIRST_NAMES: [&str; 12] =
    ["Ada", "Bohumil", "Chiara", "Daan", "Elif", "Farid", "Greta", "Hynek", "Ines", "Jakub", "Katya", "Luis"];
const LAST_NAMES: [&str; 10] =
    ["Novak", "Moreau", "Rossi", "Jansen", "Kaya", "Haddad", "Lindqvist", "Svoboda", "Costa", "Weber"];

/// Somebody with an account who can log in.
struct Customer {
    token: String,
    account: String,
}

struct Town {
    customers: Vec<Customer>,
    employer: Customer,
    landlord: Customer,
    shops: Vec<Customer>,
    counter: String,
    currency: Currency,
}

pub async fn play(config: &Config, staff: &Staff, options: &DemoOptions) -> anyhow::Result<Scenario> {
    let mut random = StdRng::seed_from_u64(options.seed);
    let town = settle(config, staff, options, &mut random).await?;
    let parts = [
        ("The employer is funded", funding(&town)),
        ("Salaries", salaries(&town, &mut random)),
        ("Rent", rent(&town)),
        ("Shopping", shopping(&town, options.payments, &mut random)),
        ("Customers pay each other", between_customers(&town, &mut random)),
        ("Cash at the counter", cash(&town, &mut random)),
        ("What a bank refuses", refusals(&town)),
    ];
    let mut played: Vec<Played> = Vec::new();
    let mut connections = Lanes::to(config.http.address);
    let started = Instant::now();
    for (title, lanes) in parts {
        let progress = bar(title, lanes.iter().map(|lane| lane.payments.len()).sum());
        played.extend(connections.play(lanes, &progress).await?.into_iter().flatten());
        progress.finish();
    }
    let played_for = started.elapsed();
    let mut notifications = 0;
    for customer in &town.customers {
        let mut connection = Connection::open(config.http.address).await?;
        connection.log_in_with(&customer.token);
        let data = connection.data(documents::MY_NOTIFICATIONS, json!({})).await?;
        notifications += data["unreadCount"].as_u64().unwrap_or(0);
    }
    Ok(Scenario {
        title: format!("A generated day (seed {})", options.seed),
        customers: town.customers.len() + SHOPS + 2,
        accounts: town.customers.len() + SHOPS + 2,
        played,
        played_for,
        notifications: Some(notifications),
        replay: None,
    })
}

async fn settle(config: &Config, staff: &Staff, options: &DemoOptions, random: &mut StdRng) -> anyhow::Result<Town> {
    let count = options.customers as usize;
    let people = (0..count + SHOPS + 2)
        .map(|index| Person {
            email: format!("person{index}-{}@town.example", staff.run),
            name: format!(
                "{} {}",
                FIRST_NAMES[random.random_range(0..FIRST_NAMES.len())],
                LAST_NAMES[random.random_range(0..LAST_NAMES.len())]
            ),
            password: staff::password(),
        })
        .collect::<Vec<_>>();
    let progress = bar("Customers register", people.len());
    let users = customers::register(config.http.address, people.clone(), &progress).await?;
    progress.finish();
    let counter = staff.operator(config).await?;
    let mut connection = Connection::open(config.http.address).await?;
    connection.log_in_with(&counter);
    let accounts = customers::accounts_of(&mut connection, &users).await?;
    let progress = bar("Customers log in", people.len());
    let mut everybody = Vec::new();
    for (person, account) in people.iter().zip(accounts) {
        let token = staff::log_in(config, &person.email, &person.password).await?;
        everybody.push(Customer { token, account });
        progress.inc(1);
    }
    progress.finish();
    let mut special = everybody.split_off(count).into_iter();
    let mut next = || special.next().expect("employer, landlord and shops were registered");
    Ok(Town {
        employer: next(),
        landlord: next(),
        shops: (0..SHOPS).map(|_| next()).collect(),
        customers: everybody,
        counter,
        currency: config.account.default_currency,
    })
}

impl Town {
    fn money(&self, minor: i64) -> Value {
        let money = Money::new(minor, self.currency);
        json!({"amount": money.to_decimal_string(), "currency": money.currency.code()})
    }

    fn transfer(&self, key: String, from: &Customer, to: &Customer, minor: i64, reference: &str) -> Payment {
        self.payment(key, &from.account, &to.account, self.money(minor), reference)
    }

    fn payment(&self, key: String, from: &str, to: &str, amount: Value, reference: &str) -> Payment {
        let input = json!({
            "idempotencyKey": key, "sourceAccountId": from, "destinationAccountId": to,
            "amount": amount, "reference": reference, "waitFor": "COMPLETED",
        });
        Payment { document: documents::TRANSFER, field: "transferCreate", input, until_known: true }
    }

    /// One lane for each customer.
    fn each(&self, mut payments: impl FnMut(usize, &Customer) -> Vec<Payment>) -> Vec<Lane> {
        let lane = |(index, customer): (usize, &Customer)| Lane {
            token: customer.token.clone(),
            payments: payments(index, customer),
        };
        self.customers.iter().enumerate().map(lane).collect()
    }
}

fn funding(town: &Town) -> Vec<Lane> {
    let needed = 500_000 * i64::try_from(town.customers.len()).unwrap_or(i64::MAX / 500_000);
    let input = json!({
        "idempotencyKey": "funding", "accountId": town.employer.account, "amount": town.money(needed),
        "reference": "capital", "waitFor": "COMPLETED",
    });
    let payment = Payment { document: documents::DEPOSIT, field: "depositRecord", input, until_known: true };
    vec![Lane { token: town.counter.clone(), payments: vec![payment] }]
}

fn salaries(town: &Town, random: &mut StdRng) -> Vec<Lane> {
    let payments = town.customers.iter().enumerate().map(|(index, customer)| {
        let salary = random.random_range(180_000..420_000);
        town.transfer(format!("salary-{index}"), &town.employer, customer, salary, "salary")
    });
    vec![Lane { token: town.employer.token.clone(), payments: payments.collect() }]
}

fn rent(town: &Town) -> Vec<Lane> {
    town.each(|index, customer| vec![town.transfer(format!("rent-{index}"), customer, &town.landlord, 95_000, "rent")])
}

/// Some people spend more than they have: their last payments are refused by the ledger.
fn shopping(town: &Town, count: u32, random: &mut StdRng) -> Vec<Lane> {
    town.each(|index, customer| {
        let mut pay = |number: u32| {
            let shop = &town.shops[random.random_range(0..SHOPS)];
            let spender = index % 7 == 0;
            let minor = if spender { random.random_range(9_000..60_000) } else { random.random_range(150..6_000) };
            town.transfer(format!("card-{index}-{number}"), customer, shop, minor, "groceries")
        };
        (0..count).map(&mut pay).collect()
    })
}

/// A ring, so that everybody gives and receives. Small enough never to be refused for those who did not overspend.
fn between_customers(town: &Town, random: &mut StdRng) -> Vec<Lane> {
    let count = town.customers.len();
    town.each(|index, customer| {
        let friend = &town.customers[(index + 1) % count];
        let minor = random.random_range(100..1_000);
        // Whoever overspent in the shops may or may not have this much, depending on when the friend's gift arrives.
        let overspent = index % 7 == 0;
        if overspent {
            Vec::new()
        } else {
            vec![town.transfer(format!("gift-{index}"), customer, friend, minor, "thanks")]
        }
    })
}

fn cash(town: &Town, random: &mut StdRng) -> Vec<Lane> {
    town.each(|index, customer| {
        if index % 4 != 1 {
            return Vec::new();
        }
        let input = json!({
            "idempotencyKey": format!("cash-{index}"), "accountId": customer.account,
            "amount": town.money(random.random_range(1..5) * 1_000), "waitFor": "COMPLETED",
        });
        vec![Payment { document: documents::WITHDRAW, field: "withdrawalInitiate", input, until_known: true }]
    })
}

fn refusals(town: &Town) -> Vec<Lane> {
    let (rogue, other) = (&town.customers[0], &town.customers[1]);
    let shop = &town.shops[0];
    let raw = |amount: &str, currency: &str| json!({"amount": amount, "currency": currency});
    let code = town.currency.code();
    let to_shop =
        |key: &str, amount: Value| town.payment(key.to_owned(), &rogue.account, &shop.account, amount, "refused");
    let payments = vec![
        to_shop("too-much", town.money(900_000_000)),
        to_shop("negative", raw("-5.00", code)),
        to_shop("nothing", raw("0.00", code)),
        to_shop("too-precise", raw("1.0000001", code)),
        to_shop("other-currency", raw("1", "JPY")),
        town.payment("self".into(), &rogue.account, &rogue.account, town.money(100), "self"),
        town.payment("not-mine".into(), &other.account, &rogue.account, town.money(100), "theft"),
        town.payment(
            "nowhere".into(),
            &rogue.account,
            "acc_00000000-0000-7000-8000-000000000000",
            town.money(100),
            "lost",
        ),
        town.transfer("rent-0".into(), rogue, &town.landlord, 95_000, "rent"),
        town.transfer("rent-0".into(), rogue, &town.landlord, 95_001, "rent"),
    ];
    let payments = payments.into_iter().map(|payment| Payment { until_known: false, ..payment }).collect();
    vec![Lane { token: rogue.token.clone(), payments }]
}

/// How often each refusal happened, for the report.
pub fn refusals_by_code(played: &[Played]) -> std::collections::BTreeMap<String, usize> {
    let mut counts = std::collections::BTreeMap::new();
    for payment in played {
        if let Outcome::Failed { code } | Outcome::Refused { code } = &payment.outcome {
            *counts.entry(code.clone()).or_insert(0) += 1;
        }
    }
    counts
}
