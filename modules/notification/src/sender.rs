use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use lettre::message::Mailbox;
use metrics::counter;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};
use uuid::Uuid;
use vostro_messaging::{ContactKey, Foundation, NewEvent};

use crate::adapters::{HandOverError, Mail, MailTransport};
use crate::domain::{Backoff, Suppression};
use crate::publish;
use crate::store::Claimed;
use crate::store::email_settlement::{self, Final, Retry};
use crate::store::emails;
use crate::templates::{EmailText, Templates};

/// Sends what is queued.
///
/// A pass claims some due e-mails in a short transaction, hands them over with no transaction open, and settles each with
/// its events in another. If the process ends in between, the claim runs out and the e-mail is sent again: at least once,
/// and recognisable as the same by its message id (in the folder it replaces itself).
pub(crate) struct Sender {
    pub foundation: Foundation,
    pub transport: Arc<dyn MailTransport>,
    pub templates: Arc<Templates>,
    pub key: Arc<ContactKey>,
    pub from: Mailbox,
    pub backoff: Backoff,
    /// How many e-mails are handed over at the same time.
    pub concurrency: usize,
    /// How long one hand-over may take.
    pub timeout: Duration,
    /// How long an e-mail waits for its person to become known.
    pub contact_wait: Duration,
    /// Told when something was queued.
    pub queued: Arc<Notify>,
}

/// What one pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pass {
    /// How many e-mails it took from the queue.
    pub claimed: usize,
    /// The mail server could not be used.
    pub unavailable: bool,
}

/// What became of one e-mail in a pass.
enum Outcome {
    HandedOver {
        receipt: String,
        content_hash: Vec<u8>,
    },
    Suppressed(Suppression),
    Failed(String),
    /// The e-mail was not taken, and the server may be to blame.
    NotNow {
        code: String,
        unavailable: bool,
    },
    /// The person is not known yet.
    NotKnown,
}

impl Sender {
    /// E-mails of one pass, per concurrent hand-over.
    const ROUNDS: usize = 8;
    /// How soon to look again whether a person is known.
    const CONTACT_CHECK: Duration = Duration::from_secs(5);
    /// How long an idle sender sleeps at most, so that it also finds what another process has queued.
    const IDLE: Duration = Duration::from_secs(5);
    const LONGEST_OUTAGE_PAUSE: Duration = Duration::from_secs(30);
    /// How long a hand-over in progress is waited for when the bank stops.
    const GRACE: Duration = Duration::from_secs(5);

    /// Sends until `stop` is cancelled; a pass in progress may end, if it is quick.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut outage = Duration::from_secs(1);
        while !stop.is_cancelled() {
            let pass = tokio::select! {
                pass = self.pass() => pass,
                () = async { stop.cancelled().await; tokio::time::sleep(Self::GRACE).await } => return,
            };
            let troubled = match pass {
                Ok(Pass { unavailable: true, .. }) => true,
                Ok(Pass { claimed: 0, .. }) => {
                    outage = Duration::from_secs(1);
                    tokio::select! {
                        () = self.queued.notified() => {}
                        () = self.until_next() => {}
                        () = stop.cancelled() => {}
                    }
                    continue;
                }
                Ok(_) => false,
                Err(error) => {
                    warn!(%error, "the queue of e-mails cannot be worked on; trying again");
                    true
                }
            };
            if troubled {
                tokio::select! {
                    () = tokio::time::sleep(outage) => {}
                    () = stop.cancelled() => {}
                }
                outage = (outage * 2).min(Self::LONGEST_OUTAGE_PAUSE);
            } else {
                outage = Duration::from_secs(1);
            }
        }
    }

    /// Until the next e-mail is due, or it is time to look again.
    async fn until_next(&self) {
        let next = emails::next_due(&self.foundation.pool).await.ok().flatten();
        let wait = next.map(|due| (due - self.foundation.clock.now()).to_std().unwrap_or_default());
        tokio::time::sleep(wait.unwrap_or(Self::IDLE).min(Self::IDLE)).await;
    }

    /// Claims what is due, up to a bound, and settles all of it.
    ///
    /// # Errors
    /// Database faults. What was claimed becomes due again by itself.
    pub async fn pass(&self) -> sqlx::Result<Pass> {
        let claim = self.foundation.ids.next();
        let limit = i64::try_from(self.concurrency * Self::ROUNDS).unwrap_or(i64::MAX);
        let now = self.foundation.clock.now();
        let mails = emails::claim(&self.foundation.pool, claim, now, self.hold(), limit).await?;
        let mut done = Pass { claimed: mails.len(), unavailable: false };
        let mut outcomes = futures::stream::iter(mails)
            .map(|mail| async move {
                let outcome = self.attempt(&mail).await;
                (mail, outcome)
            })
            .buffer_unordered(self.concurrency)
            .ready_chunks(self.concurrency);
        while let Some(settled) = outcomes.next().await {
            done.unavailable |=
                settled.iter().any(|(_, outcome)| matches!(outcome, Outcome::NotNow { unavailable: true, .. }));
            self.settle(claim, &settled).await?;
        }
        Ok(done)
    }

    /// How long a claim holds: longer than the slowest pass can take.
    fn hold(&self) -> TimeDelta {
        let rounds = u32::try_from(Self::ROUNDS + 1).unwrap_or(u32::MAX);
        let hold = self.timeout.saturating_mul(rounds) + Duration::from_secs(60);
        TimeDelta::from_std(hold).unwrap_or(TimeDelta::MAX)
    }

    async fn attempt(&self, mail: &Claimed) -> Outcome {
        let Some(sealed) = &mail.sealed_contact else { return Outcome::NotKnown };
        let Ok(contact) = self.key.open(mail.user_id, sealed) else {
            error!(notification = %mail.notification_id, "a sealed contact cannot be opened with the configured key");
            return Outcome::Suppressed(Suppression::ContactUnreadable);
        };
        let Some(message) = &mail.message else { return Outcome::Failed("NTF_TEMPLATE_INVALID".to_owned()) };
        let words = self.templates.email(message, mail.account.as_deref(), mail.locale, &contact.display_name);
        let content = match words {
            Ok(content) => content,
            Err(error) => {
                error!(notification = %mail.notification_id, %error, "an e-mail cannot be put into words");
                return Outcome::Failed(error.code().to_owned());
            }
        };
        let content_hash = hash(&content);
        let date = self.foundation.clock.now();
        let mail = Mail { notification_id: mail.notification_id, from: self.from.clone(), to: contact, content, date };
        match self.transport.hand_over(&mail).await {
            Ok(receipt) => Outcome::HandedOver { receipt, content_hash },
            Err(HandOverError::Address) => Outcome::Suppressed(Suppression::AddressInvalid),
            Err(HandOverError::Refused(code)) => Outcome::Failed(code),
            Err(HandOverError::Later(code)) => Outcome::NotNow { code, unavailable: false },
            Err(HandOverError::Unavailable(code)) => Outcome::NotNow { code, unavailable: true },
        }
    }

    /// Writes down what became of e-mails. After a hand-over this is worth some patience: what is not written down is
    /// sent again.
    async fn settle(&self, claim: Uuid, outcomes: &[(Claimed, Outcome)]) -> sqlx::Result<()> {
        const TRIES: u32 = 10;
        for pause in 1..TRIES {
            match self.settle_once(claim, outcomes).await {
                Ok(()) => return Ok(()),
                Err(error) => warn!(%error, "what became of e-mails cannot be written down yet"),
            }
            tokio::time::sleep(Duration::from_millis(100) * pause).await;
        }
        self.settle_once(claim, outcomes).await
    }

    async fn settle_once(&self, claim: Uuid, outcomes: &[(Claimed, Outcome)]) -> sqlx::Result<()> {
        let now = self.foundation.clock.now();
        let (mut finals, mut retries) = (Vec::with_capacity(outcomes.len()), Vec::new());
        for (mail, outcome) in outcomes {
            match self.next_step(mail, outcome, now) {
                Next::End(end) => finals.push((mail.notification_id, end)),
                Next::Again(retry) => retries.push(retry),
            }
        }
        let mut transaction = self.foundation.begin().await?;
        let finished = email_settlement::finish_in_tx(&mut transaction, claim, &finals, now).await?;
        email_settlement::retry_in_tx(&mut transaction, claim, &retries).await?;
        let events = self.events(outcomes, |id| finished.contains(&id), now);
        self.foundation.outbox.append_in_tx(&mut transaction, events).await?;
        transaction.commit().await?;
        self.foundation.outbox.committed();
        count(&finals, retries.len());
        Ok(())
    }

    fn events(
        &self,
        outcomes: &[(Claimed, Outcome)],
        finished: impl Fn(Uuid) -> bool,
        now: DateTime<Utc>,
    ) -> Vec<NewEvent> {
        let handed_over = outcomes.iter().filter_map(|(mail, outcome)| match outcome {
            Outcome::HandedOver { receipt, .. } if finished(mail.notification_id) => Some((mail, receipt)),
            _ => None,
        });
        handed_over
            .flat_map(|(mail, receipt)| publish::mailed(self.foundation.ids.as_ref(), mail, receipt, now))
            .collect()
    }

    fn next_step(&self, mail: &Claimed, outcome: &Outcome, now: DateTime<Utc>) -> Next {
        let id = mail.notification_id;
        let again = |pause: Duration, counts| {
            let due_at = now + TimeDelta::from_std(pause).unwrap_or(TimeDelta::MAX);
            Next::Again(Retry { notification_id: id, due_at, counts })
        };
        match outcome {
            Outcome::HandedOver { content_hash, .. } => {
                Next::End(Final::Delivered { content_hash: content_hash.clone() })
            }
            Outcome::Suppressed(reason) => Next::End(Final::Suppressed(*reason)),
            Outcome::Failed(code) => {
                warn!(notification = %id, code, "an e-mail was refused for good");
                Next::End(Final::Failed(code.clone()))
            }
            Outcome::NotNow { code, .. } => match self.backoff.after(mail.attempt, id) {
                Some(pause) => {
                    debug!(notification = %id, code, attempt = mail.attempt, "an e-mail will be tried again");
                    again(pause, true)
                }
                None => {
                    error!(notification = %id, code, attempts = mail.attempt, "an e-mail is given up");
                    Next::End(Final::Failed(code.clone()))
                }
            },
            Outcome::NotKnown => {
                let waited = (now - mail.queued_at).to_std().unwrap_or_default();
                if waited < self.contact_wait {
                    again(Self::CONTACT_CHECK.min(self.contact_wait - waited), false)
                } else {
                    Next::End(Final::Suppressed(Suppression::NoContact))
                }
            }
        }
    }
}

enum Next {
    End(Final),
    Again(Retry),
}

/// What proves later which words were sent, without keeping the words.
fn hash(content: &EmailText) -> Vec<u8> {
    let mut hasher = Sha256::new();
    for part in [&content.subject, &content.text, &content.html] {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_vec()
}

fn count(finals: &[(Uuid, Final)], retries: usize) {
    let outcomes = finals.iter().map(|(_, end)| match end {
        Final::Delivered { .. } => "delivered",
        Final::Suppressed(_) => "suppressed",
        Final::Failed(_) => "failed",
    });
    for outcome in outcomes.chain(std::iter::repeat_n("retried", retries)) {
        counter!("vostro_emails_total", "outcome" => outcome).increment(1);
    }
}
