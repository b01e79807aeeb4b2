//! Registering people and finding the accounts the bank opened for them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::client::{Connection, documents};

/// Somebody who is about to become a customer.
#[derive(Debug, Clone)]
pub struct Person {
    pub email: String,
    pub name: String,
    pub password: String,
}

/// Registers everybody, several at a time, and returns their user ids in order.
pub async fn register(address: SocketAddr, people: Vec<Person>, progress: &ProgressBar) -> anyhow::Result<Vec<String>> {
    let count = people.len();
    let people = Arc::new(people);
    let next = Arc::new(AtomicUsize::new(0));
    let users = Arc::new(Mutex::new(vec![String::new(); count]));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..8.min(count) {
        let (people, next, users, progress) =
            (Arc::clone(&people), Arc::clone(&next), Arc::clone(&users), progress.clone());
        workers.spawn(async move {
            let mut connection = Connection::open(address).await?;
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(person) = people.get(index) else { return anyhow::Ok(()) };
                let input = json!({
                    "email": person.email, "password": person.password, "displayName": person.name, "locale": "en",
                    "idempotencyKey": format!("register-{}", person.email),
                });
                let data = connection.data(documents::REGISTER, json!({"input": input})).await?;
                let user = data["userRegister"]["user"]["id"].as_str();
                let user = user.with_context(|| format!("registering: {}", data["userRegister"]["userErrors"]))?;
                users.lock().unwrap_or_else(PoisonError::into_inner)[index] = user.to_owned();
                progress.inc(1);
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    let users = std::mem::take(&mut *users.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(users)
}

/// The account of each user, as the counter sees it. The bank opens it when it hears of the registration, so this waits
/// until everybody has one.
pub async fn accounts_of(counter: &mut Connection, users: &[String]) -> anyhow::Result<Vec<String>> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let accounts = all_accounts(counter).await?;
        let found: Vec<String> = users.iter().filter_map(|user| accounts.get(user).cloned()).collect();
        if found.len() == users.len() {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("only {} of {} customers have an account after a minute", found.len(), users.len());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Owner to account, over all pages.
async fn all_accounts(counter: &mut Connection) -> anyhow::Result<HashMap<String, String>> {
    let mut accounts = HashMap::new();
    let mut after = Value::Null;
    loop {
        let data = counter.data(documents::ALL_ACCOUNTS, json!({"after": after})).await?;
        let page = &data["accounts"];
        for account in page["nodes"].as_array().into_iter().flatten() {
            if let (Some(id), Some(owner)) = (account["id"].as_str(), account["owner"]["id"].as_str()) {
                accounts.insert(owner.to_owned(), id.to_owned());
            }
        }
        if page["pageInfo"]["hasNextPage"] != json!(true) {
            return Ok(accounts);
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

/// The bank's own account with this number, such as `CASH-CZK`.
pub async fn internal_account(counter: &mut Connection, number: &str) -> anyhow::Result<String> {
    let data = counter.data(documents::INTERNAL_ACCOUNTS, json!({})).await?;
    let accounts = data["internalAccounts"].as_array().into_iter().flatten();
    let found = accounts.into_iter().find(|account| account["number"] == json!(number));
    let id = found.and_then(|account| account["id"].as_str());
    Ok(id.with_context(|| format!("the bank has no internal account {number}"))?.to_owned())
}
