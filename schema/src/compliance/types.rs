use async_graphql::{Description, Enum, ID, InputObject, Object, Result};
use uuid::Uuid;
use vostro_compliance::{AuditEntry, AuditFilter, AuditProof, Outcome};

use crate::faults::bad_user_input;
use crate::ids::{self, IdKind};
use crate::scalars::{DateTime, Decimal};

/// What an event is to the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "vostro_compliance::Outcome")]
pub enum AuditOutcome {
    /// A consequence, or something that happened by itself.
    Event,
    /// The first event of an accepted command.
    Accepted,
    /// A refused command; nothing changed.
    Refused,
}

/// What kind of party caused an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "vostro_kernel::ActorKind")]
pub enum AuditActorKind {
    /// A customer.
    User,
    /// Somebody of the bank.
    Staff,
    /// The bank itself.
    System,
    /// Nobody known.
    Anonymous,
}

/// Which events to show; everything that is given must hold.
#[derive(Debug, Default, InputObject)]
pub struct AuditEventFilter {
    /// The object an event happened to, or a refused command was about: any id of the API, or a plain UUID.
    pub subject_id: Option<ID>,
    /// Who gave the command: finds accepted and refused commands. What a command led to has its correlation id.
    pub actor_id: Option<ID>,
    /// An event type, such as `account.account-updated.v1`.
    #[graphql(name = "type")]
    pub event_type: Option<String>,
    pub outcome: Option<AuditOutcome>,
    pub correlation_id: Option<ID>,
    /// Recorded at this time or later.
    pub from: Option<DateTime>,
    /// Recorded before this time.
    pub to: Option<DateTime>,
}

impl AuditEventFilter {
    pub(super) fn read(self) -> Result<AuditFilter> {
        Ok(AuditFilter {
            subject_id: self.subject_id.as_ref().map(subject).transpose()?,
            actor_id: ids::decode_opt(IdKind::User, self.actor_id.as_ref())?,
            event_type: self.event_type,
            outcome: self.outcome.map(Outcome::from),
            correlation_id: self.correlation_id.as_ref().map(uuid).transpose()?,
            from: self.from.map(Into::into),
            to: self.to.map(Into::into),
        })
    }
}

/// Whatever an event can be about: objects of the API by their ids, everything else by its UUID.
pub(super) fn subject(id: &ID) -> Result<Uuid> {
    IdKind::decode_any(id).map_or_else(|| uuid(id), |(_, id)| Ok(id))
}

fn uuid(id: &ID) -> Result<Uuid> {
    Uuid::try_parse(id).map_err(|_| bad_user_input("not an id: give the id of an object, or a UUID"))
}

fn plain(id: Uuid) -> ID {
    ID(id.as_hyphenated().to_string())
}

/// The id of an aggregate as the API writes it, where the API knows such objects.
fn aggregate_id(aggregate_type: &str, id: Uuid) -> ID {
    let kind = match aggregate_type {
        "user" | "preference" => IdKind::User,
        "account" | "balance" => IdKind::Account,
        "transaction" | "posting" => IdKind::Transaction,
        "notification" => IdKind::Notification,
        "violation" => IdKind::Violation,
        "evidence" => IdKind::Evidence,
        _ => return plain(id),
    };
    ids::encode(kind, id)
}

/// An event in the audit log. It never changes, and its hash covers it and everything before it.
#[derive(Description)]
pub struct AuditEvent(pub(super) AuditEntry);

#[Object(use_type_description)]
impl AuditEvent {
    /// Its place in the log, from 1.
    async fn position(&self) -> i64 {
        self.0.position
    }

    /// The same over every delivery and replay.
    async fn event_id(&self) -> ID {
        plain(self.0.event_id)
    }

    /// `<module>.<event>.v<major>`.
    #[graphql(name = "type")]
    async fn event_type(&self) -> &str {
        &self.0.event_type
    }

    async fn module(&self) -> &str {
        &self.0.module
    }

    /// The kind of object it happened to.
    async fn aggregate_type(&self) -> &str {
        &self.0.aggregate_type
    }

    async fn aggregate_id(&self) -> ID {
        aggregate_id(&self.0.aggregate_type, self.0.aggregate_id)
    }

    /// Its number among the events of the object, from 1 without gaps.
    async fn sequence(&self) -> i64 {
        self.0.sequence
    }

    async fn actor_kind(&self) -> AuditActorKind {
        self.0.actor_kind.into()
    }

    /// Who caused it; `null` for the bank itself and for somebody unknown.
    async fn actor_id(&self) -> Option<ID> {
        self.0.actor_id.map(|id| ids::encode(IdKind::User, id))
    }

    /// The command it is the first event, or the refusal, of.
    async fn command(&self) -> Option<&str> {
        self.0.command.as_deref()
    }

    async fn outcome(&self) -> AuditOutcome {
        self.0.outcome.into()
    }

    /// Why the command was refused.
    async fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// What a refused command was about, as a UUID.
    async fn subject_id(&self) -> Option<ID> {
        self.0.subject_id.map(plain)
    }

    /// The same for everything one request led to.
    async fn correlation_id(&self) -> ID {
        plain(self.0.correlation_id)
    }

    /// The command or the event that directly led to it.
    async fn causation_id(&self) -> ID {
        plain(self.0.causation_id)
    }

    async fn occurred_at(&self) -> DateTime {
        self.0.occurred_at.into()
    }

    /// When it arrived in the log.
    async fn recorded_at(&self) -> DateTime {
        self.0.recorded_at.into()
    }

    /// SHA-256 over the event and the hash before it, in hexadecimal.
    async fn hash(&self) -> String {
        self.0.hash_hex()
    }

    /// The data as JSON, exactly as the module wrote it.
    async fn payload(&self) -> &str {
        &self.0.data
    }
}

/// What recomputing the audit chain has shown.
#[derive(Description)]
pub struct AuditVerification(pub(super) AuditProof);

#[Object(use_type_description)]
impl AuditVerification {
    /// Whether nothing that was stored has been changed, removed or added since.
    async fn ok(&self) -> bool {
        self.0.ok()
    }

    /// How many events were found in order, from the first on.
    async fn checked(&self) -> i64 {
        self.0.checked
    }

    /// The first place where something is wrong.
    async fn first_broken_position(&self) -> Option<i64> {
        self.0.broken.map(|broken| broken.position)
    }

    /// What is wrong there.
    async fn reason(&self) -> Option<String> {
        self.0.broken.map(|broken| format!("{}: {}", broken.reason.as_str(), broken.reason.meaning()))
    }

    /// Where the chain ends.
    async fn head_position(&self) -> i64 {
        self.0.head_position
    }

    /// The hash of the last event in order, in hexadecimal. Noted down elsewhere, it shows later whether history was
    /// rewritten as a whole.
    async fn head_hash(&self) -> String {
        self.0.head_hash_hex()
    }
}

/// How serious a violation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum ViolationSeverity {
    Low,
    Medium,
    High,
}

/// Something a rule found and a compliance officer has to look at.
#[derive(Description)]
pub struct Violation(pub(super) vostro_compliance::Violation);

// Every audience has `Node`: without the tag customers' programs would read of it there.
#[Object(use_type_description, tag = "staff")]
impl Violation {
    async fn id(&self) -> ID {
        ids::encode(IdKind::Violation, self.0.violation_id)
    }

    /// The rule's name, such as `LARGE_TRANSFER`.
    async fn rule_id(&self) -> &str {
        &self.0.rule_id
    }

    /// The version of the rule's parameters.
    async fn rule_version(&self) -> i32 {
        self.0.rule_version
    }

    async fn severity(&self) -> ViolationSeverity {
        match self.0.severity.as_str() {
            "LOW" => ViolationSeverity::Low,
            "MEDIUM" => ViolationSeverity::Medium,
            _ => ViolationSeverity::High,
        }
    }

    /// The account it is about.
    async fn subject_id(&self) -> ID {
        ids::encode(IdKind::Account, self.0.subject_id)
    }

    /// The transactions that are the evidence, the triggering one last.
    async fn transaction_ids(&self) -> Vec<ID> {
        self.0.transaction_ids.iter().map(|id| ids::encode(IdKind::Transaction, *id)).collect()
    }

    /// What was measured, in the unit of the threshold: payments, or minor units of the currency.
    async fn score(&self) -> Decimal {
        self.0.score.into()
    }

    async fn threshold(&self) -> Decimal {
        self.0.threshold.into()
    }

    /// In plain words.
    async fn explanation(&self) -> &str {
        &self.0.explanation
    }

    async fn detected_at(&self) -> DateTime {
        self.0.detected_at.into()
    }
}

/// A document that is kept with a violation.
#[derive(Description)]
pub struct Evidence(pub(super) vostro_compliance::Evidence);

#[Object(use_type_description, tag = "staff")]
impl Evidence {
    async fn id(&self) -> ID {
        ids::encode(IdKind::Evidence, self.0.evidence_id)
    }

    async fn violation_id(&self) -> ID {
        ids::encode(IdKind::Violation, self.0.violation_id)
    }

    async fn file_name(&self) -> &str {
        &self.0.file_name
    }

    /// What its content is: `application/pdf`, `image/png`, `image/jpeg` or `text/plain`.
    async fn media_type(&self) -> &str {
        &self.0.media_type
    }

    /// Of its content, in bytes.
    async fn size(&self) -> i32 {
        self.0.size
    }

    /// SHA-256 of its content, in hexadecimal.
    async fn sha256(&self) -> String {
        self.0.sha256_hex()
    }

    /// The officer who attached it.
    async fn attached_by(&self) -> ID {
        ids::encode(IdKind::User, self.0.attached_by)
    }

    async fn attached_at(&self) -> DateTime {
        self.0.attached_at.into()
    }
}

/// Events that are missing between others.
#[derive(Description)]
pub struct EventGap(pub(super) vostro_compliance::EventGap);

#[Object(use_type_description)]
impl EventGap {
    async fn module(&self) -> &str {
        &self.0.module
    }

    async fn aggregate_type(&self) -> &str {
        &self.0.aggregate_type
    }

    async fn aggregate_id(&self) -> ID {
        aggregate_id(&self.0.aggregate_type, self.0.aggregate_id)
    }

    /// The first number that is missing.
    async fn missing_from(&self) -> i64 {
        self.0.missing_from
    }

    /// The last number that is missing.
    async fn missing_to(&self) -> i64 {
        self.0.missing_to
    }

    /// When it was noticed.
    async fn opened_at(&self) -> DateTime {
        self.0.opened_at.into()
    }
}

/// How many events of a type are stored.
#[derive(Description)]
pub struct EventCount(pub(super) vostro_compliance::EventCount);

#[Object(use_type_description)]
impl EventCount {
    /// `<module>.<event>.v<major>`.
    #[graphql(name = "type")]
    async fn event_type(&self) -> &str {
        &self.0.event_type
    }

    async fn count(&self) -> i64 {
        self.0.count
    }
}
