//! Typed configuration in layers: defaults, then a file, then the environment. Unknown keys are errors in every layer,
//! because a misspelt limit is a limit that is not there.
//!
//! In the environment a key is written `VOSTRO__<SECTION>__<KEY>`, such as `VOSTRO__HTTP__ADDRESS=127.0.0.1:8080`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use vostro_messaging::lease::LeaseTimes;
use vostro_messaging::parking::ApprovalPolicy;
use vostro_messaging::{
    AdmissionBounds, Caching, MESSAGE_BYTES, Partitions, RetrySchedule, SharedStore, UnknownAddress,
};
use vostro_rabbitmq::TlsFiles;

/// In seconds.
const DAY: u64 = 24 * 60 * 60;

/// Everything that can be configured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub database: DatabaseConfig,
    pub broker: BrokerConfig,
    #[serde(default)]
    pub http: HttpConfig,
    #[serde(default)]
    pub graphql: crate::graphql::GraphqlConfig,
    #[serde(default)]
    pub cache: CacheConfig,
    #[serde(default)]
    pub federation: crate::federation::FederationConfig,
    #[serde(default)]
    pub log: LogConfig,
    #[serde(default)]
    pub tracing: TracingConfig,
    #[serde(default)]
    pub messaging: MessagingConfig,
    #[serde(default)]
    pub auth: vostro_auth::Config,
    #[serde(default)]
    pub account: vostro_account::Config,
    #[serde(default)]
    pub transaction: vostro_transaction::Config,
    #[serde(default)]
    pub notification: vostro_notification::Config,
    #[serde(default)]
    pub compliance: vostro_compliance::Config,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `postgres://` URL of the owner role. Used by `migrate` and by the proofs; modules log in with roles of their own.
    pub url: SecretString,
    /// The secret the module roles' passwords are derived from.
    pub module_secret: SecretString,
    /// Connections each module may open.
    #[serde(default = "DatabaseConfig::default_connections")]
    pub connections_per_module: u32,
}

impl DatabaseConfig {
    const fn default_connections() -> u32 {
        8
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// `amqp://host:port/vhost`, or `amqp://host:port,host:port,host:port/vhost` for the nodes of a cluster: connections are
    /// spread over them, and one that is lost is made again at the next. Each module logs in as a user of its own; a user in
    /// the address is not used. With `amqps://` the connections are encrypted.
    pub url: SecretString,
    /// Base URL of the management API (`http://` or `https://`) with its credentials, with several hosts for a cluster as in
    /// `url`: the topology is checked and applied through it. `serve` is content with the user `<vhost>.monitor`, `topology
    /// apply` needs an administrator.
    pub management_url: SecretString,
    /// The secret from which the password of each user follows that `passwords` does not have.
    #[serde(default)]
    pub module_secret: Option<SecretString>,
    /// Passwords by role: a module's name, `monitor` or `operator`.
    #[serde(default)]
    pub passwords: BTreeMap<String, SecretString>,
    #[serde(default)]
    pub tls: BrokerTlsConfig,
}

/// Whom the bank trusts where `url` begins with `amqps://` or `management_url` with `https://`, and who it is there.
/// The files are PEM and are read for each new connection: what is renewed needs no restart.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BrokerTlsConfig {
    /// The authorities that the broker's certificate may come from; those the machine trusts without it.
    pub ca_file: Option<PathBuf>,
    /// The bank's own certificate, followed by those between it and its authority, for a broker that asks for one.
    pub certificate_file: Option<PathBuf>,
    /// The private key of that certificate.
    pub key_file: Option<PathBuf>,
}

impl BrokerConfig {
    /// Whom the bank trusts, and who it is.
    pub fn tls_files(&self) -> TlsFiles {
        let BrokerTlsConfig { ca_file, certificate_file, key_file } = self.tls.clone();
        TlsFiles { ca: ca_file, identity: certificate_file.zip(key_file) }
    }

    fn validate(&self) -> Result<(), String> {
        let BrokerTlsConfig { ca_file, certificate_file, key_file } = &self.tls;
        if certificate_file.is_some() != key_file.is_some() {
            return Err("tls.certificate_file and tls.key_file: one needs the other".to_owned());
        }
        let is_encrypted = self.url.expose_secret().starts_with("amqps://")
            || self.management_url.expose_secret().starts_with("https://");
        if !is_encrypted && (ca_file.is_some() || key_file.is_some()) {
            return Err(
                "tls: nothing is encrypted; let url begin with amqps:// or management_url with https://".to_owned()
            );
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    pub address: SocketAddr,
    /// How long a stop waits for requests, batches and the outbox, in seconds.
    pub drain_seconds: u64,
    /// Serve GraphiQL and answer introspection, for development: it shows everybody who can reach the bank all it can be
    /// asked.
    pub graphiql: bool,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 21080)), drain_seconds: 25, graphiql: false }
    }
}

impl HttpConfig {
    pub const fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    /// What is meant for development only, with what it shows and how it is switched off.
    pub fn warning(&self) -> Option<&'static str> {
        self.graphiql.then_some(
            "http.graphiql is on: everybody who can reach the bank is told its whole schema and is served GraphiQL. \
             That is for development; leave it out, or set VOSTRO__HTTP__GRAPHIQL=false, in production.",
        )
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    pub format: LogFormat,
    /// `tracing` filter directives, such as `info,vostro_messaging=debug`.
    pub filter: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// For people at a terminal.
    Text,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Json, filter: "info,lapin=off".to_owned() }
    }
}

/// Traces of requests through commits, messages and modules, for an OpenTelemetry collector.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TracingConfig {
    /// Base URL of the collector (OTLP over HTTP, protobuf), such as `http://127.0.0.1:4318`. Nothing is traced without it.
    pub otlp_endpoint: Option<String>,
    /// The share of requests that are traced, from 0 to 1, whether or not the caller asks for it.
    pub ratio: f64,
}

impl Default for TracingConfig {
    fn default() -> Self {
        Self { otlp_endpoint: None, ratio: 0.1 }
    }
}

impl TracingConfig {
    pub(crate) fn validate(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.ratio) {
            return Err("ratio: between 0 and 1".to_owned());
        }
        // Collectors run beside the bank; the way further is theirs to protect.
        match &self.otlp_endpoint {
            Some(url) if !url.starts_with("http://") => Err("otlp_endpoint: has to begin with http://".to_owned()),
            _ => Ok(()),
        }
    }
}

/// What is kept of what was read, for those who look at it next. Commands never read it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// The most objects of one type; 0 to read everything from the database.
    pub entities: u64,
    /// How long one that may change is kept at most, in seconds. Changes are told at once; this bounds what an instance can
    /// show that missed one.
    pub seconds: u64,
    /// Of how many of the newest payments those that have ended are read ahead when an instance is ready; 0 for none.
    pub warm: u32,
    /// `rediss://user:password@host:6379/0` of a Redis in which instances share what does not change any more. None
    /// without it, or when it is empty.
    pub redis_url: Option<SecretString>,
    /// How long it stays there, in hours.
    pub redis_hours: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { entities: 20_000, seconds: 5, warm: 2_000, redis_url: None, redis_hours: 24 }
    }
}

impl CacheConfig {
    /// `secret` is what the keys follow from with which shared values are sealed.
    pub(crate) fn caching(&self, secret: &str) -> Result<Caching, UnknownAddress> {
        let url = self.redis_url.as_ref().map(ExposeSecret::expose_secret).filter(|url| !url.is_empty());
        let life = Duration::from_secs(self.redis_hours * 60 * 60);
        Ok(Caching {
            entities: self.entities,
            time_to_live: Duration::from_secs(self.seconds),
            warm: self.warm,
            shared: url.map(|url| SharedStore::new(url, secret, life)).transpose()?,
        })
    }

    fn validate(&self) -> Result<(), String> {
        if self.entities > 10_000_000 {
            return Err("entities: at most 10000000".to_owned());
        }
        if !(1..=60).contains(&self.seconds) {
            return Err("seconds: from 1 to 60; entities = 0 switches the cache off".to_owned());
        }
        if self.warm > 1_000_000 {
            return Err("warm: at most 1000000".to_owned());
        }
        if !(1..=720).contains(&self.redis_hours) {
            return Err("redis_hours: from 1 to 720".to_owned());
        }
        self.caching("").map_err(|error| format!("redis_url: {error}"))?;
        Ok(())
    }
}

/// What happens to events that cannot be handled.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MessagingConfig {
    /// The pause before each attempt to handle a parked event, in seconds; the last repeats.
    pub retry_pauses_seconds: Vec<u64>,
    /// After this many attempts it is left to an operator.
    pub retry_attempts: u32,
    /// Where a second person has to agree before parked messages are skipped or discarded: `<module>.<subscription>`, or
    /// `<module>.*` for all of a module.
    pub approval: Vec<String>,
    /// Whether that holds for trying them again too.
    pub approval_of_redrive: bool,
    /// Whether a second person has to agree before events of these modules are published once more, or their projections
    /// rebuilt. Where a rebuild gives up what only the projection knows, one has to in any case.
    pub approval_of_maintenance: bool,
    /// When an instance has been silent for this long, in milliseconds, the others take over what it did.
    pub lease_ms: u64,
    /// Into how many queues each subscription is divided, so that several instances share its work: 1, 2, 4 … 64. The
    /// same for all instances; the README says how to change it.
    pub partitions: u8,
    /// Commands of a module are turned away while more events than this wait in its outbox, and let in again at half of it.
    pub admission_rows: u32,
    /// They are turned away too when nothing has left an outbox that is not empty for this long, in seconds.
    pub admission_stalled_seconds: u32,
    /// Events of more bytes travel without their data, which subscribers ask for. For modules that answer for it.
    pub claim_over_bytes: usize,
    /// For how many days such data is kept after the last event that refers to it. A week longer than parked events are
    /// tried again, at least.
    pub claims_kept_days: u16,
}

impl Default for MessagingConfig {
    fn default() -> Self {
        let (schedule, policy) = (RetrySchedule::default(), ApprovalPolicy::default());
        Self {
            retry_pauses_seconds: schedule.pauses.iter().map(Duration::as_secs).collect(),
            retry_attempts: schedule.attempts,
            approval: policy.subscriptions,
            approval_of_redrive: policy.redrive,
            approval_of_maintenance: policy.maintenance,
            lease_ms: 10_000,
            partitions: Partitions::ONE.number(),
            admission_rows: 200_000,
            admission_stalled_seconds: 1_800,
            claim_over_bytes: 64 * 1024,
            claims_kept_days: 30,
        }
    }
}

impl MessagingConfig {
    pub fn retry_schedule(&self) -> RetrySchedule {
        let pauses = self.retry_pauses_seconds.iter().copied().map(Duration::from_secs).collect();
        RetrySchedule { pauses, attempts: self.retry_attempts }
    }

    pub fn approval_policy(&self) -> ApprovalPolicy {
        ApprovalPolicy {
            subscriptions: self.approval.clone(),
            redrive: self.approval_of_redrive,
            maintenance: self.approval_of_maintenance,
        }
    }

    pub const fn lease_times(&self) -> LeaseTimes {
        LeaseTimes::expiring_after(Duration::from_millis(self.lease_ms))
    }

    /// For how long a session may be silent within a transaction: as long as leases last, and never so short that a busy
    /// machine is taken for a stopped one.
    pub fn silence(&self) -> Duration {
        self.lease_times().expire.max(Duration::from_secs(5))
    }

    /// From where on commands are turned away.
    pub fn admission(&self) -> AdmissionBounds {
        AdmissionBounds {
            rows: i64::from(self.admission_rows),
            stalled: Duration::from_secs(self.admission_stalled_seconds.into()),
        }
    }

    /// For how long data that did not travel is kept.
    pub fn claims_kept(&self) -> Duration {
        Duration::from_secs(u64::from(self.claims_kept_days) * DAY)
    }

    pub fn partitions(&self) -> Partitions {
        Partitions::new(self.partitions).unwrap_or(Partitions::ONE)
    }

    fn validate(&self) -> Result<(), String> {
        if self.retry_pauses_seconds.is_empty() || self.retry_attempts == 0 {
            return Err("retry_pauses_seconds and retry_attempts: at least one".to_owned());
        }
        if !(500..=600_000).contains(&self.lease_ms) {
            return Err("lease_ms: between 500 and 600000".to_owned());
        }
        if self.admission_rows < 2 || self.admission_stalled_seconds == 0 {
            return Err("admission_rows and admission_stalled_seconds: at least 2 and 1".to_owned());
        }
        if !(1024..=MESSAGE_BYTES).contains(&self.claim_over_bytes) {
            return Err(format!("claim_over_bytes: between 1024 and {MESSAGE_BYTES}"));
        }
        // What the archive could not take by itself, an operator has a week to see to: there is no other copy.
        let least = self.retry_schedule().span().as_secs().div_ceil(DAY).saturating_add(7);
        if u64::from(self.claims_kept_days) < least {
            return Err(format!(
                "claims_kept_days: at least {least}, a week longer than parked events are tried again"
            ));
        }
        if Partitions::new(self.partitions).is_none() {
            return Err("partitions: 1, 2, 4, 8, 16, 32 or 64".to_owned());
        }
        Ok(())
    }
}

/// The configuration cannot be used; the text names the key and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("configuration: {0}")]
pub struct ConfigError(pub(crate) String);

/// What the layers say: `file` when given, then the environment (the process's own without one).
pub(crate) fn layered<T: serde::de::DeserializeOwned>(
    file: Option<&Path>,
    environment: Option<std::collections::HashMap<String, String>>,
) -> Result<T, ConfigError> {
    let mut layers = config::Config::builder();
    if let Some(path) = file {
        layers = layers.add_source(config::File::from(path).format(config::FileFormat::Toml));
    }
    let variables = config::Environment::with_prefix("VOSTRO")
        .prefix_separator("__")
        .separator("__")
        .try_parsing(true)
        .source(environment);
    let layers = layers.add_source(variables).build();
    layers.and_then(config::Config::try_deserialize).map_err(|error| ConfigError(error.to_string()))
}

impl Config {
    /// Reads the layers: `file` when given, then the process environment.
    ///
    /// # Errors
    /// [`ConfigError`] for a missing file, a malformed or unknown key, or a value a module refuses.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::from_layers(file, None)
    }

    fn from_layers(
        file: Option<&Path>,
        environment: Option<std::collections::HashMap<String, String>>,
    ) -> Result<Self, ConfigError> {
        let config: Self = layered(file, environment)?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let checks = [
            ("broker", self.broker.validate()),
            ("graphql", self.graphql.validate()),
            ("cache", self.cache.validate()),
            ("federation", self.federation.validate()),
            ("auth", self.auth.validate()),
            ("account", self.account.validate()),
            ("transaction", self.transaction.validate()),
            ("notification", self.notification.validate()),
            ("compliance", self.compliance.validate()),
            ("messaging", self.messaging.validate()),
            ("tracing", self.tracing.validate()),
        ];
        for (section, check) in checks {
            check.map_err(|problem| ConfigError(format!("{section}: {problem}")))?;
        }
        if self.database.connections_per_module < 4 {
            return Err(ConfigError("database.connections_per_module: at least 4".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let path = std::env::temp_dir().join(format!("vostro-config-{}.toml", uuid::Uuid::now_v7()));
        std::fs::write(&path, file).expect("the temporary folder is writable");
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let config = Config::from_layers(Some(&path), Some(environment));
        std::fs::remove_file(&path).expect("the file is still there");
        config
    }

    const MINIMAL: &str = r#"
        [database]
        url = "postgres://localhost/vostro"
        module_secret = "a secret of the bank"
        [broker]
        url = "amqp://localhost"
        management_url = "http://localhost:15672"
        [auth]
        secret = "a secret of the auth module, long enough"
        contact_secret = "a secret of two modules, long enough"
    "#;

    #[test]
    fn the_environment_overrides_the_file_and_the_file_the_defaults() {
        let config = load(MINIMAL, &[("VOSTRO__HTTP__ADDRESS", "127.0.0.1:9999")]).expect("valid");
        assert_eq!(config.http.address.port(), 9999);
        assert_eq!(config.database.connections_per_module, 8);
        let file = MINIMAL.replace("module_secret", "connections_per_module = 5\nmodule_secret");
        assert_eq!(load(&file, &[]).expect("valid").database.connections_per_module, 5);
    }

    #[test]
    fn what_is_for_development_is_off_unless_switched_on_and_then_warned_of() {
        let warning = |environment: &[(&str, &str)]| load(MINIMAL, environment).expect("valid").http.warning();
        assert_eq!(warning(&[]), None);
        assert_eq!(warning(&[("VOSTRO__HTTP__GRAPHIQL", "false")]), None);
        let told = warning(&[("VOSTRO__HTTP__GRAPHIQL", "true")]).expect("told");
        assert!(told.contains("http.graphiql") && told.contains("production"), "{told}");
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_in_every_layer() {
        let error =
            |file: &str, environment: &[(&str, &str)]| load(file, environment).expect_err("refused").to_string();
        assert!(error(&MINIMAL.replace("[broker]", "pool = 3\n[broker]"), &[]).contains("pool"));
        assert!(error(MINIMAL, &[("VOSTRO__HTTP__ADRESS", "127.0.0.1:1")]).contains("adress"));
        assert!(error(MINIMAL, &[("VOSTRO__ACCOUNTS__X", "1")]).contains("accounts"));
    }

    #[test]
    fn a_broken_value_is_refused_with_its_key() {
        let error = load(MINIMAL, &[("VOSTRO__HTTP__ADDRESS", "nowhere")]).expect_err("refused").to_string();
        assert!(error.contains("address"), "{error}");
        let error = load(&format!("{MINIMAL}\n[messaging]\nretry_attempts = 0"), &[]).expect_err("refused").to_string();
        assert!(error.contains("retry_attempts"), "{error}");
        let error = load(MINIMAL, &[("VOSTRO__MESSAGING__PARTITIONS", "3")]).expect_err("refused").to_string();
        assert!(error.contains("partitions"), "{error}");
        let kept_too_short = format!("{MINIMAL}\n[messaging]\nretry_pauses_seconds = [86400]\nclaims_kept_days = 21");
        let error = load(&kept_too_short, &[]).expect_err("refused").to_string();
        assert!(error.contains("claims_kept_days: at least 22"), "{error}");
        load(&kept_too_short.replace("21", "22"), &[]).expect("long enough");
        let error = load(MINIMAL, &[("VOSTRO__MESSAGING__LEASE_MS", "5")]).expect_err("refused").to_string();
        assert!(error.contains("lease_ms"), "{error}");
        let error = load(MINIMAL, &[("VOSTRO__CACHE__SECONDS", "3600")]).expect_err("refused").to_string();
        assert!(error.contains("cache: seconds"), "{error}");
        let error = load(MINIMAL, &[("VOSTRO__CACHE__REDIS_URL", "nowhere/secret")]).expect_err("refused").to_string();
        assert!(error.contains("cache: redis_url") && !error.contains("secret"), "{error}");
        let error = load(MINIMAL, &[("VOSTRO__GRAPHQL__BUDGET_CLIENT_PERCENT", "0")]).expect_err("refused").to_string();
        assert!(error.contains("graphql: budget_client_percent"), "{error}");
        let ids_only = format!("{MINIMAL}\n[graphql]\nid_only_clients = [\"app\"]");
        let error = load(&ids_only, &[]).expect_err("refused").to_string();
        assert!(error.contains("graphql: documents_folder"), "{error}");
        let error =
            load(MINIMAL, &[("VOSTRO__DATABASE__CONNECTIONS_PER_MODULE", "1")]).expect_err("refused").to_string();
        assert!(error.contains("connections_per_module"), "{error}");
    }

    #[test]
    fn files_for_an_encrypted_connection_are_complete_and_there_is_one() {
        let encrypted = [("VOSTRO__BROKER__URL", "amqps://localhost"), ("VOSTRO__BROKER__TLS__CA_FILE", "/ca.pem")];
        let files = load(MINIMAL, &encrypted).expect("valid").broker.tls_files();
        assert_eq!(files, TlsFiles { ca: Some("/ca.pem".into()), identity: None });
        let error = load(MINIMAL, &encrypted[1..]).expect_err("refused").to_string();
        assert!(error.contains("broker: tls: nothing is encrypted"), "{error}");
        let both =
            [encrypted[0], ("VOSTRO__BROKER__TLS__KEY_FILE", "/k"), ("VOSTRO__BROKER__TLS__CERTIFICATE_FILE", "/c")];
        let files = load(MINIMAL, &both).expect("valid").broker.tls_files();
        assert_eq!(files.identity, Some(("/c".into(), "/k".into())));
        let error = load(MINIMAL, &both[..2]).expect_err("refused").to_string();
        assert!(error.contains("tls.certificate_file and tls.key_file"), "{error}");
    }

    #[test]
    fn instances_share_what_they_keep_where_a_redis_is_named() {
        let shares = |url| {
            let config = load(MINIMAL, &[("VOSTRO__CACHE__REDIS_URL", url)]).expect("valid");
            config.cache.caching("a secret").expect("valid").shared.is_some()
        };
        assert!(shares("redis://127.0.0.1:6379/2") && shares("rediss://bank:secret@cache.example.org"));
        assert!(!shares(""), "as a template leaves it");
    }

    #[test]
    fn secrets_do_not_show_when_the_configuration_is_printed() {
        let redis = ("VOSTRO__CACHE__REDIS_URL", "redis://:a%20secret%20of%20Redis@127.0.0.1");
        let config = load(MINIMAL, &[redis]).expect("valid");
        assert!(!format!("{config:?}").contains("of%20Redis"));
        assert!(!format!("{config:?}").contains("a secret of"));
    }
}
