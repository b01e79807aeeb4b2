use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use vostro_kernel::{Currency, Money};

use super::compare::Comparison;
use super::files::{self, Booking, DataSet, Kind};
use crate::client::{Connection, documents};
use crate::config::Config;
use crate::demo::customers::{self, Person};
use crate::demo::lanes::{Lane, Lanes, Outcome, Payment, Played};
use crate::demo::progress::bar;
use crate::demo::report::Scenario;
use crate::demo::staff::{self, Staff};

/// A token is renewed well before it expires.
const RENEW_TOKEN_AFTER: std::time::Duration = std::time::Duration::from_secs(240);

/// The bank's own accounts on the other side of the bookings.
struct Counterparties {
    settlement: String,
    interest: String,
    fees: String,
}

/// Replays the folder.
pub async fn play(config: &Config, staff: &Staff, folder: &Path) -> anyhow::Result<Scenario> {
    let data = files::read(folder)?;
    for skipped in &data.skipped {
        eprintln!("skipped {} line {}: {}", skipped.file, skipped.line, skipped.reason);
    }
    let accounts = open_accounts(config, staff, &data).await?;
    arrange_overdrafts(config, staff, &data.bookings, &accounts).await?;
    let started = Instant::now();
    let played = replay_days(config, staff, &data.bookings, &accounts).await?;
    let played_for = started.elapsed();

    let not_completed = data.bookings.iter().zip(&played).filter_map(|(booking, played)| match &played.outcome {
        Outcome::Completed { .. } => None,
        Outcome::Failed { code } | Outcome::Refused { code } => Some((booking.id, code.clone())),
    });
    let not_completed = not_completed.collect();
    let closes = day_closes(config, staff, &data.bookings, &played, &accounts).await?;
    let comparison = Comparison::new(&data.bookings, &closes, data.skipped, not_completed);
    Ok(Scenario {
        title: format!("The Berka data set: {} bookings", data.bookings.len()),
        customers: data.clients.len(),
        accounts: accounts.len(),
        played,
        played_for,
        notifications: None,
        replay: Some(comparison),
    })
}

/// Every client registers; the account the bank opens for the owner of an account is that account.
async fn open_accounts(config: &Config, staff: &Staff, data: &DataSet) -> anyhow::Result<HashMap<u64, String>> {
    let password = staff::password();
    let person = |client: &u64| Person {
        email: format!("client{client}-{}@berka.example", staff.run),
        name: format!("Client {client}"),
        password: password.clone(),
    };
    let progress = bar("Clients register", data.clients.len());
    let users = customers::register(config.http.address, data.clients.iter().map(person).collect(), &progress).await?;
    progress.finish();
    let mut counter = Connection::open(config.http.address).await?;
    counter.log_in_with(&staff.operator(config).await?);
    let ids = customers::accounts_of(&mut counter, &users).await?;
    let by_client: HashMap<u64, String> = data.clients.iter().copied().zip(ids).collect();
    let account = |(account, client): (&u64, &u64)| {
        let id = by_client.get(client).with_context(|| format!("account-{account} has an unknown owner {client}"))?;
        Ok((*account, id.clone()))
    };
    data.owners.iter().map(account).collect()
}

/// Accounts that the bookings take below zero get the overdraft they had in the real bank.
async fn arrange_overdrafts(
    config: &Config,
    staff: &Staff,
    bookings: &[Booking],
    accounts: &HashMap<u64, String>,
) -> anyhow::Result<()> {
    let mut balances: HashMap<u64, i64> = HashMap::new();
    let mut needed: BTreeMap<u64, i64> = BTreeMap::new();
    for booking in bookings {
        let balance = balances.entry(booking.account).or_default();
        *balance += if booking.kind.is_credit() { booking.amount_minor } else { -booking.amount_minor };
        if *balance < 0 {
            let limit = needed.entry(booking.account).or_default();
            *limit = (*limit).max(-*balance);
        }
    }
    let mut counter = Connection::open(config.http.address).await?;
    counter.log_in_with(&staff.operator(config).await?);
    let progress = bar("Overdrafts are arranged", needed.len());
    for (account, limit) in needed {
        let id = accounts.get(&account).with_context(|| format!("booking on unknown account {account}"))?;
        let input = json!({"accountId": id, "limit": money(limit)?});
        let data = counter.data(documents::ARRANGE_OVERDRAFT, json!({"input": input})).await?;
        if let Some(error) = data["overdraftArrange"]["userErrors"].get(0) {
            bail!("arranging an overdraft: {error}");
        }
        progress.inc(1);
    }
    progress.finish();
    Ok(())
}

/// One day after the other; on each day all credits before all debits, as the bookings are sorted.
async fn replay_days(
    config: &Config,
    staff: &Staff,
    bookings: &[Booking],
    accounts: &HashMap<u64, String>,
) -> anyhow::Result<Vec<Played>> {
    let mut counter = Connection::open(config.http.address).await?;
    let (mut token, mut since) = (staff.operator(config).await?, Instant::now());
    counter.log_in_with(&token);
    let mut internal = Vec::new();
    for name in ["SETTLEMENT", "INTEREST", "FEES"] {
        internal.push(customers::internal_account(&mut counter, &format!("{name}-CZK")).await?);
    }
    let [settlement, interest, fees] = internal.try_into().map_err(|_| anyhow::anyhow!("three accounts"))?;
    let counterparties = Counterparties { settlement, interest, fees };

    let progress = bar("Bookings are replayed", bookings.len());
    let mut played = Vec::with_capacity(bookings.len());
    let mut connections = Lanes::to(config.http.address);
    for part in bookings.chunk_by(|a, b| a.day == b.day && a.kind.is_credit() == b.kind.is_credit()) {
        if since.elapsed() > RENEW_TOKEN_AFTER {
            (token, since) = (staff.operator(config).await?, Instant::now());
        }
        let mut lanes = Vec::with_capacity(part.len());
        for booking in part {
            let account = accounts
                .get(&booking.account)
                .with_context(|| format!("booking on unknown account {}", booking.account))?;
            lanes.push(Lane { token: token.clone(), payments: vec![payment(booking, account, &counterparties)?] });
        }
        played.extend(connections.play(lanes, &progress).await?.into_iter().flatten());
    }
    progress.finish();
    Ok(played)
}

fn payment(booking: &Booking, account: &str, counterparties: &Counterparties) -> anyhow::Result<Payment> {
    let (key, amount) = (format!("berka-{}", booking.id), money(booking.amount_minor)?);
    let at_the_counter = |document, field| {
        let input = json!({
            "idempotencyKey": key, "accountId": account, "amount": amount,
            "reference": booking.day, "waitFor": "COMPLETED",
        });
        Payment { document, field, input, until_known: true }
    };
    let between = |source: &str, destination: &str| {
        let input = json!({
            "idempotencyKey": key, "sourceAccountId": source, "destinationAccountId": destination, "amount": amount,
            "reference": booking.day, "waitFor": "COMPLETED",
        });
        Payment { document: documents::TRANSFER, field: "transferCreate", input, until_known: true }
    };
    let Counterparties { settlement, interest, fees } = counterparties;
    Ok(match booking.kind {
        Kind::CashIn => at_the_counter(documents::DEPOSIT, "depositRecord"),
        Kind::CashOut => at_the_counter(documents::WITHDRAW, "withdrawalInitiate"),
        Kind::FromOtherBank => between(settlement, account),
        Kind::ToOtherBank | Kind::Card => between(account, settlement),
        Kind::InterestPaid => between(interest, account),
        Kind::InterestCharged => between(account, interest),
        Kind::Fee => between(account, fees),
    })
}

/// The ledger's balance at the end of each account-day: of the day's entries, the one with the highest sequence.
async fn day_closes(
    config: &Config,
    staff: &Staff,
    bookings: &[Booking],
    played: &[Played],
    accounts: &HashMap<u64, String>,
) -> anyhow::Result<HashMap<(u64, String), i64>> {
    let day_of: HashMap<&str, &str> = bookings
        .iter()
        .zip(played)
        .filter_map(|(booking, played)| match &played.outcome {
            Outcome::Completed { transaction, .. } => Some((transaction.as_str(), booking.day.as_str())),
            _ => None,
        })
        .collect();
    let moved: std::collections::BTreeSet<u64> = bookings.iter().map(|booking| booking.account).collect();
    let mut counter = Connection::open(config.http.address).await?;
    counter.log_in_with(&staff.operator(config).await?);
    let progress = bar("Statements are read", moved.len());
    let mut closes: HashMap<(u64, String), (i64, i64)> = HashMap::new();
    for account in moved {
        for entry in entries(&mut counter, &accounts[&account]).await? {
            let Some(day) = entry["transactionId"].as_str().and_then(|id| day_of.get(id)) else { continue };
            let sequence = entry["sequence"].as_i64().context("an entry without a sequence")?;
            let text = entry["balanceAfter"]["amount"].as_str().context("an entry without a balance")?;
            let balance = Money::parse(text, czk()?)?.minor;
            let close = closes.entry((account, (*day).to_owned())).or_insert((sequence, balance));
            if sequence > close.0 {
                *close = (sequence, balance);
            }
        }
        progress.inc(1);
    }
    progress.finish();
    Ok(closes.into_iter().map(|(key, (_, balance))| (key, balance)).collect())
}

async fn entries(counter: &mut Connection, account: &str) -> anyhow::Result<Vec<Value>> {
    let mut entries = Vec::new();
    let mut after = Value::Null;
    loop {
        let variables = json!({"account": account, "first": 100, "after": after});
        let mut data = counter.data(documents::ENTRIES, variables).await?;
        let page = &mut data["account"]["entries"];
        after = page["pageInfo"]["endCursor"].take();
        let more = page["pageInfo"]["hasNextPage"] == json!(true);
        if let Value::Array(nodes) = page["nodes"].take() {
            entries.extend(nodes);
        }
        if !more {
            return Ok(entries);
        }
    }
}

fn czk() -> anyhow::Result<Currency> {
    Ok("CZK".parse()?)
}

fn money(minor: i64) -> anyhow::Result<Value> {
    let money = Money::new(minor, czk()?);
    Ok(json!({"amount": money.to_decimal_string(), "currency": "CZK"}))
}
