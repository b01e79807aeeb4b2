//! The one broker: a user per module, who may do what the module's manifest says and nothing else.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use vostro_messaging::Partitions;
use vostro_rabbitmq::topology::{self, user_name};
use vostro_rabbitmq::{Endpoint, InvalidEndpoint, ManagementClient, ManagementError, Passwords, Topology};
use vostro_schema::operations::{BrokerAway, BrokerView, Difference, QueueTotals};

use crate::app;
use crate::config::{BrokerConfig, Config};

/// The broker cannot be used as it is configured; the text names the key.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("broker.url: {0}")]
    Url(#[from] InvalidEndpoint),
    #[error("broker.management_url: {0}")]
    ManagementUrl(#[source] ManagementError),
    #[error("broker.passwords.{0}: missing; set it, or broker.module_secret from which every password follows")]
    NoPassword(String),
    #[error("broker.passwords.{0}: the broker has no such user; there is one per module, monitor and operator")]
    NoSuchUser(String),
}

/// Where the broker is; its user is nobody in particular.
///
/// # Errors
/// [`BrokerError::Url`].
pub fn endpoint(config: &BrokerConfig) -> Result<Endpoint, BrokerError> {
    Ok(Endpoint::parse(config.url.expose_secret())?.with_tls(config.tls_files()))
}

/// How a module logs in.
///
/// # Errors
/// [`BrokerError`] when the address is none or the module has no password.
pub fn endpoint_of(config: &BrokerConfig, module: &str) -> Result<Endpoint, BrokerError> {
    let endpoint = endpoint(config)?;
    let password = password(config, module).ok_or_else(|| BrokerError::NoPassword(module.to_owned()))?;
    let user = user_name(endpoint.vhost(), module);
    Ok(endpoint.with_login(&user, &password))
}

/// The management API, and the virtual host that is ours.
///
/// # Errors
/// [`BrokerError`] when an address is none.
pub fn management(config: &BrokerConfig) -> Result<(ManagementClient, String), BrokerError> {
    let client = ManagementClient::new(config.management_url.expose_secret()).map_err(BrokerError::ManagementUrl)?;
    Ok((client.with_tls(config.tls_files()), endpoint(config)?.vhost().to_owned()))
}

/// The password of every user of the topology.
///
/// # Errors
/// [`BrokerError`] when a module has none, or one is given for a user that does not exist.
pub fn passwords(config: &BrokerConfig, topology: &Topology) -> Result<Passwords, BrokerError> {
    if let Some(unknown) = config.passwords.keys().find(|role| !topology.users.contains_key(*role)) {
        return Err(BrokerError::NoSuchUser(unknown.clone()));
    }
    let passwords = topology.users.iter().filter_map(|(role, user)| match password(config, role) {
        Some(password) => Some(Ok((role.clone(), password))),
        // People can do without; a module cannot.
        None if !user.tags.is_empty() => None,
        None => Some(Err(BrokerError::NoPassword(role.clone()))),
    });
    passwords.collect()
}

/// The one that is configured, or HMAC-SHA-256 of the role under the bank's secret, so that one secret is kept and nobody
/// can compute another's password.
fn password(config: &BrokerConfig, role: &str) -> Option<String> {
    let given = config.passwords.get(role).map(|password| password.expose_secret().to_owned());
    given.or_else(|| config.module_secret.as_ref().map(|secret| derived(secret, role)))
}

fn derived(secret: &SecretString, role: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, format!("broker {role}").as_bytes()))
}

/// What operators ask of the broker.
pub struct BrokerEyes {
    management: ManagementClient,
    vhost: String,
    partitions: Partitions,
}

impl BrokerEyes {
    /// # Errors
    /// [`BrokerError`] when an address is none.
    pub fn open(config: &Config) -> Result<Self, BrokerError> {
        let (management, vhost) = management(&config.broker)?;
        Ok(Self { management, vhost, partitions: config.messaging.partitions() })
    }
}

#[async_trait]
impl BrokerView for BrokerEyes {
    async fn queues(&self) -> Result<HashMap<String, QueueTotals>, BrokerAway> {
        // The subscriptions' alone: questions are answered while events are not taken.
        let mut modules = HashMap::new();
        for subscription in app::manifests().iter().flat_map(|manifest| &manifest.subscribes) {
            modules.extend(subscription.queues(self.partitions).into_iter().map(|queue| (queue, subscription.module)));
        }
        let mut totals = HashMap::<String, QueueTotals>::new();
        for queue in self.management.queues(&self.vhost).await.map_err(away)? {
            let Some(module) = modules.get(&queue.name) else { continue };
            let total = totals.entry((*module).to_owned()).or_default();
            total.ready += queue.ready;
            total.unacknowledged += queue.unacknowledged;
            total.consumers += queue.consumers;
        }
        Ok(totals)
    }

    async fn topology_differences(&self) -> Result<Vec<Difference>, BrokerAway> {
        let live = topology::read_live(&self.management, &self.vhost).await.map_err(away)?;
        let expected = Topology::divided(&app::manifests(), self.partitions).map_err(away)?;
        let differences = topology::diff(&expected, &live);
        let told = |found: topology::Difference| Difference { text: found.to_string(), is_harmful: found.is_harmful() };
        Ok(differences.into_iter().map(told).collect())
    }
}

fn away(error: impl std::fmt::Display) -> BrokerAway {
    BrokerAway(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerTlsConfig;

    fn config(secret: Option<&str>, passwords: &[(&str, &str)]) -> BrokerConfig {
        BrokerConfig {
            url: "amqp://broker/vostro".into(),
            management_url: "http://broker:15672".into(),
            module_secret: secret.map(Into::into),
            passwords: passwords.iter().map(|(role, password)| ((*role).to_owned(), (*password).into())).collect(),
            tls: BrokerTlsConfig::default(),
        }
    }

    fn of(config: &BrokerConfig) -> Result<Passwords, BrokerError> {
        passwords(config, &Topology::of(&crate::app::manifests()).expect("the manifests agree"))
    }

    #[test]
    fn one_secret_gives_every_user_a_password_of_its_own() {
        let passwords = of(&config(Some("secret"), &[])).expect("complete");
        let of_all: std::collections::BTreeSet<_> =
            ["auth", "account", "transaction", "notification", "compliance", "monitor", "operator"]
                .map(|role| passwords.of(role).expect("there").to_owned())
                .into();
        assert_eq!(of_all.len(), 7);
        assert_ne!(of(&config(Some("other"), &[])).expect("complete").of("auth"), passwords.of("auth"));
    }

    #[test]
    fn a_given_password_replaces_the_derived_one() {
        let config = config(Some("secret"), &[("account", "geheim")]);
        assert_eq!(of(&config).expect("complete").of("account"), Some("geheim"));
        assert_eq!(endpoint_of(&config, "account").expect("complete").user(), "vostro.account");
    }

    #[test]
    fn without_the_secret_every_module_needs_a_password_and_people_do_not() {
        let modules = ["auth", "account", "transaction", "notification", "compliance"].map(|module| (module, "geheim"));
        assert_eq!(of(&config(None, &modules)).expect("complete").of("monitor"), None);
        let error = of(&config(None, &modules[1..])).expect_err("auth has none").to_string();
        assert!(error.starts_with("broker.passwords.auth: missing"), "{error}");
        let error = endpoint_of(&config(None, &[]), "account").expect_err("none").to_string();
        assert!(error.starts_with("broker.passwords.account: missing"), "{error}");
    }

    #[test]
    fn a_password_for_nobody_is_a_misspelt_key() {
        let error = of(&config(Some("secret"), &[("acount", "geheim")])).expect_err("misspelt").to_string();
        assert!(error.starts_with("broker.passwords.acount: the broker has no such user"), "{error}");
    }
}
