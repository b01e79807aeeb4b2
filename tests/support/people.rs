use std::net::SocketAddr;

use serde_json::{Value, json};
use vostro::cli::staff::ensure_staff;
use vostro::client::{Connection, documents};
use vostro_kernel::Role;

use super::{World, eventually};

/// A customer who is logged in and has an account.
pub struct Person {
    pub user: String,
    pub account: String,
    pub token: String,
    pub refresh_token: String,
    address: SocketAddr,
}

pub const PASSWORD: &str = "correct horse battery staple 42";

impl Person {
    /// Registers, logs in, and waits until everybody knows the account that the registration leads to.
    pub async fn join(world: &World, name: &str) -> Self {
        let address = world.config.http.address;
        let email = format!("{name}@example.org");
        let mut connection = Connection::open(address).await.expect("the bank listens");
        let input = json!({"input": {
            "email": email, "password": PASSWORD, "displayName": name, "locale": "en", "idempotencyKey": format!("register-{name}"),
        }});
        let registered = connection.data(documents::REGISTER, input).await.expect("an answer");
        let user = text(&registered["userRegister"]["user"]["id"]);
        let (token, refresh_token) = log_in(address, &email, PASSWORD).await;
        connection.log_in_with(&token);
        let connection = tokio::sync::Mutex::new(connection);
        let account = eventually("the default account is open", || async {
            let mut connection = connection.lock().await;
            let accounts = connection.data(documents::MY_ACCOUNTS, json!({"first": 10})).await.expect("an answer");
            accounts["accounts"]["nodes"][0]["id"].as_str().map(str::to_owned)
        })
        .await;
        let known = format!(
            "select count(*) from transaction.account_view where id = '{}' and number is not null",
            account.trim_start_matches("acc_")
        );
        eventually("the transaction module knows the account", || async {
            (world.count(&known).await == 1).then_some(())
        })
        .await;
        Self { user, account, token, refresh_token, address }
    }

    /// Somebody with money: a deposit at the counter, completed.
    pub async fn with_money(world: &World, staff: &Staff, name: &str, amount: &str) -> Self {
        let person = Self::join(world, name).await;
        staff.deposit(&person.account, amount, &format!("funds-{name}")).await;
        person
    }

    /// The same person at another instance of the bank.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Self {
        let Self { user, account, token, refresh_token, .. } = self;
        let (user, account) = (user.clone(), account.clone());
        Self { user, account, token: token.clone(), refresh_token: refresh_token.clone(), address }
    }

    pub async fn connection(&self) -> Connection {
        connect(self.address, &self.token).await
    }

    /// The same while the bank may be down.
    pub async fn try_connection(&self) -> Option<Connection> {
        let mut connection = Connection::open(self.address).await.ok()?;
        connection.log_in_with(&self.token);
        Some(connection)
    }

    /// Asks for a transfer and waits for its end.
    pub async fn transfer(&self, key: &str, to: &str, amount: &str) -> Value {
        let mut connection = self.connection().await;
        let input = transfer_input(key, &self.account, to, amount, "COMPLETED");
        let data = connection.data(documents::TRANSFER, json!({"input": input})).await.expect("an answer");
        data["transferCreate"].clone()
    }

    /// The account's posted balance, as text.
    pub async fn balance(&self) -> String {
        let mut connection = self.connection().await;
        let accounts = connection.data(documents::MY_ACCOUNTS, json!({"first": 10})).await.expect("an answer");
        let nodes = accounts["accounts"]["nodes"].as_array().expect("a list").clone();
        let own = nodes.iter().find(|account| account["id"] == json!(self.account)).expect("the account is listed");
        text(&own["balance"]["posted"]["amount"])
    }
}

/// People of the bank, logged in.
pub struct Staff {
    pub operator: String,
    pub officer: String,
    pub admin: String,
    address: SocketAddr,
}

impl Staff {
    pub async fn hire(world: &World) -> Self {
        let mut tokens = Vec::new();
        for role in [Role::Operator, Role::ComplianceOfficer, Role::Admin] {
            let email = format!("{}@bank.example", role.as_str().to_lowercase());
            ensure_staff(&world.config, &email, role.as_str(), PASSWORD, role).await.expect("staff can be hired");
            tokens.push(log_in(world.config.http.address, &email, PASSWORD).await.0);
        }
        let [operator, officer, admin] = tokens.try_into().expect("three roles");
        Self { operator, officer, admin, address: world.config.http.address }
    }

    pub async fn operator_connection(&self) -> Connection {
        connect(self.address, &self.operator).await
    }

    pub async fn officer_connection(&self) -> Connection {
        connect(self.address, &self.officer).await
    }

    pub async fn admin_connection(&self) -> Connection {
        connect(self.address, &self.admin).await
    }

    /// Cash over the counter onto an account, completed.
    pub async fn deposit(&self, account: &str, amount: &str, key: &str) {
        let mut connection = self.operator_connection().await;
        let input = json!({"input": {
            "idempotencyKey": key, "accountId": account, "amount": {"amount": amount, "currency": "EUR"}, "waitFor": "COMPLETED",
        }});
        let data = connection.data(documents::DEPOSIT, input).await.expect("an answer");
        assert_eq!(data["depositRecord"]["transaction"]["status"], "COMPLETED", "{data}");
    }
}

pub fn transfer_input(key: &str, from: &str, to: &str, amount: &str, wait_for: &str) -> Value {
    json!({
        "idempotencyKey": key, "sourceAccountId": from, "destinationAccountId": to,
        "amount": {"amount": amount, "currency": "EUR"}, "reference": "test", "waitFor": wait_for,
    })
}

/// Access and refresh token.
pub async fn log_in(address: SocketAddr, email: &str, password: &str) -> (String, String) {
    let mut connection = Connection::open(address).await.expect("the bank listens");
    let input = json!({"input": {"email": email, "password": password}});
    let data = connection.data(documents::LOGIN, input).await.expect("an answer");
    let tokens = &data["login"]["tokens"];
    assert!(tokens.is_object(), "{email} cannot log in: {data}");
    (text(&tokens["accessToken"]), text(&tokens["refreshToken"]))
}

pub async fn connect(address: SocketAddr, token: &str) -> Connection {
    let mut connection = Connection::open(address).await.expect("the bank listens");
    connection.log_in_with(token);
    connection
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("expected a text, got {value}")).to_owned()
}
