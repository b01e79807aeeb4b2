use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;
use vostro_events::notification::Channel;

use super::{Locale, Message, Status, Suppression, Topic, Verdict, notification_id};

/// Something happened that concerns a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occasion {
    /// The event; its place in the batch finds the rest of it again.
    pub source_event_id: Uuid,
    pub source_index: usize,
    pub user_id: Uuid,
    pub message: Message,
    /// The account it is about.
    pub account_id: Option<Uuid>,
    /// Another notification says it already.
    pub covered: Option<Suppression>,
}

/// What people chose, where they chose.
pub type Choices = HashMap<(Topic, Channel), bool>;

/// What is known about a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// `None` while the registration has not been heard of.
    pub locale: Option<String>,
    pub choices: Choices,
}

/// What becomes of an occasion on one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Stored in the app's inbox, which is its sending.
    Store,
    /// Queued for the mail server.
    Queue,
    Suppress(Suppression),
}

impl Decision {
    /// The status the notification begins with.
    pub const fn status(self) -> Status {
        match self {
            Self::Store => Status::Sent,
            Self::Queue => Status::Queued,
            Self::Suppress(_) => Status::Suppressed,
        }
    }
}

/// One decision, about to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotification<'a> {
    pub id: Uuid,
    pub occasion: &'a Occasion,
    pub topic: Topic,
    pub channel: Channel,
    pub decision: Decision,
    pub locale: Locale,
    pub created_at: DateTime<Utc>,
}

/// Decides for each occasion and channel, in order: exactly one decision, or none where the channel is not used for the
/// topic unless asked for.
pub fn decide<'a>(
    occasions: &'a [Occasion],
    known: &HashMap<Uuid, Known>,
    default_locale: Locale,
    now: DateTime<Utc>,
) -> Vec<NewNotification<'a>> {
    let mut decisions = Vec::with_capacity(occasions.len());
    for occasion in occasions {
        let person = known.get(&occasion.user_id);
        let topic = occasion.message.topic();
        let locale = person.and_then(|known| known.locale.as_deref()).and_then(Locale::of).unwrap_or(default_locale);
        for channel in Channel::ALL {
            let choice = person.and_then(|known| known.choices.get(&(topic, channel)).copied());
            let decision = match (topic.verdict(channel, choice), occasion.covered, channel) {
                (Verdict::Silent, _, _) => continue,
                (Verdict::Suppress(reason), _, _) | (Verdict::Tell, Some(reason), _) => Decision::Suppress(reason),
                (Verdict::Tell, None, Channel::InApp) => Decision::Store,
                (Verdict::Tell, None, Channel::Email) => Decision::Queue,
            };
            let id = notification_id(occasion.source_event_id, occasion.user_id, topic, channel);
            decisions.push(NewNotification { id, occasion, topic, channel, decision, locale, created_at: now });
        }
    }
    decisions
}

#[cfg(test)]
mod tests {
    use super::*;
    use vostro_events::transaction::TransactionKind;
    use vostro_kernel::Money;

    fn occasion(user_id: Uuid, message: Message) -> Occasion {
        let source_event_id = Uuid::now_v7();
        Occasion { source_event_id, source_index: 0, user_id, message, account_id: None, covered: None }
    }

    fn payment() -> Message {
        let amount = Money::new(1, "EUR".parse().expect("a currency"));
        Message::PaymentReceived { amount, kind: TransactionKind::Transfer }
    }

    fn decided(occasion: &Occasion, known: Known) -> Vec<(Channel, Decision, Locale)> {
        let known = HashMap::from([(occasion.user_id, known)]);
        decide(std::slice::from_ref(occasion), &known, Locale::En, DateTime::UNIX_EPOCH)
            .into_iter()
            .map(|decided| (decided.channel, decided.decision, decided.locale))
            .collect()
    }

    #[test]
    fn a_payment_is_one_row_in_the_app() {
        let payment = occasion(Uuid::now_v7(), payment());
        assert_eq!(decided(&payment, Known::default()), [(Channel::InApp, Decision::Store, Locale::En)]);
    }

    #[test]
    fn a_welcome_goes_to_the_app_and_by_mail_in_the_persons_language() {
        let welcome = occasion(Uuid::now_v7(), Message::Welcome);
        let known = Known { locale: Some("cs-CZ".to_owned()), ..Known::default() };
        assert_eq!(
            decided(&welcome, known),
            [(Channel::InApp, Decision::Store, Locale::Cs), (Channel::Email, Decision::Queue, Locale::Cs)]
        );
    }

    #[test]
    fn a_language_without_templates_falls_back() {
        let welcome = occasion(Uuid::now_v7(), Message::Welcome);
        let known = Known { locale: Some("fr".to_owned()), ..Known::default() };
        assert!(decided(&welcome, known).iter().all(|(_, _, locale)| *locale == Locale::En));
    }

    #[test]
    fn somebody_unknown_is_told_with_the_defaults() {
        let welcome = occasion(Uuid::now_v7(), Message::Welcome);
        let decisions = decide(std::slice::from_ref(&welcome), &HashMap::new(), Locale::Cs, DateTime::UNIX_EPOCH);
        assert_eq!(decisions.len(), 2);
        assert!(decisions.iter().all(|decided| decided.locale == Locale::Cs));
    }

    #[test]
    fn choices_add_channels_and_record_what_they_take_away() {
        let payment = occasion(Uuid::now_v7(), payment());
        let choices = Choices::from([
            ((Topic::PaymentReceived, Channel::InApp), false),
            ((Topic::PaymentReceived, Channel::Email), true),
            ((Topic::PaymentSent, Channel::InApp), true),
        ]);
        let decisions = decided(&payment, Known { locale: None, choices });
        assert_eq!(
            decisions,
            [
                (Channel::InApp, Decision::Suppress(Suppression::Preference), Locale::En),
                (Channel::Email, Decision::Queue, Locale::En)
            ]
        );
    }

    #[test]
    fn what_the_welcome_covers_is_recorded_and_not_said() {
        let currency = "EUR".parse().expect("a currency");
        let message = Message::AccountOpened { product: super::super::Product::Current, currency };
        let opened = Occasion { covered: Some(Suppression::CoveredByWelcome), ..occasion(Uuid::now_v7(), message) };
        let decisions = decided(&opened, Known::default());
        assert_eq!(decisions.len(), 2);
        assert!(
            decisions.iter().all(|(_, decision, _)| *decision == Decision::Suppress(Suppression::CoveredByWelcome))
        );
    }
}
