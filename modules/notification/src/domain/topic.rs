use std::str::FromStr;

use vostro_events::notification::Channel;

use super::UnknownName;

/// What a notification is about; what people choose by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// The person has registered.
    Welcome,
    /// Somebody logged in as the person.
    Security,
    /// An account was opened, its terms changed, or a statement of it can be read.
    Account,
    /// Money left an account of the person.
    PaymentSent,
    /// Money came in.
    PaymentReceived,
    /// A payment of the person was not carried out.
    PaymentFailed,
}

/// What becomes of one topic on one channel for one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Say it.
    Tell,
    /// It would be said, but something speaks against it; that is recorded.
    Suppress(Suppression),
    /// The channel is not used for this topic unless the person asks for it, and the person has not. Not recorded: there
    /// would be more rows about what nobody expects than about what was said.
    Silent,
}

/// Why a notification is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suppression {
    /// The person has switched it off.
    Preference,
    /// The account came with the registration; the welcome says so.
    CoveredByWelcome,
    /// No address became known in time.
    NoContact,
    /// The sealed address cannot be opened with the bank's key.
    ContactUnreadable,
    /// The address is not one mail can be sent to.
    AddressInvalid,
}

impl Suppression {
    /// The stable name the row keeps.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preference => "PREFERENCE",
            Self::CoveredByWelcome => "COVERED_BY_WELCOME",
            Self::NoContact => "NO_CONTACT",
            Self::ContactUnreadable => "CONTACT_UNREADABLE",
            Self::AddressInvalid => "ADDRESS_INVALID",
        }
    }
}

impl Topic {
    pub const ALL: [Self; 6] =
        [Self::Welcome, Self::Security, Self::Account, Self::PaymentSent, Self::PaymentReceived, Self::PaymentFailed];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Welcome => "WELCOME",
            Self::Security => "SECURITY",
            Self::Account => "ACCOUNT",
            Self::PaymentSent => "PAYMENT_SENT",
            Self::PaymentReceived => "PAYMENT_RECEIVED",
            Self::PaymentFailed => "PAYMENT_FAILED",
        }
    }

    /// Whether a person who never chose is told on this channel. Everything in the app; by e-mail what is rare and worth
    /// keeping, not what happens several times a day.
    pub const fn on_by_default(self, channel: Channel) -> bool {
        match channel {
            Channel::InApp => true,
            Channel::Email => matches!(self, Self::Welcome | Self::Account),
        }
    }

    /// Whether the notice ignores opt-out: who could switch off the notice about a login could hide a theft.
    pub const fn mandatory(self, channel: Channel) -> bool {
        matches!((self, channel), (Self::Security, Channel::InApp))
    }

    /// Whether the person is told, given what they chose (if they did).
    pub fn enabled(self, channel: Channel, choice: Option<bool>) -> bool {
        self.mandatory(channel) || choice.unwrap_or(self.on_by_default(channel))
    }

    /// The rule of preferences.
    pub fn verdict(self, channel: Channel, choice: Option<bool>) -> Verdict {
        if self.enabled(channel, choice) {
            Verdict::Tell
        } else if self.on_by_default(channel) {
            Verdict::Suppress(Suppression::Preference)
        } else {
            Verdict::Silent
        }
    }
}

impl FromStr for Topic {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == text).ok_or_else(|| UnknownName(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_told_in_the_app_unless_switched_off() {
        for topic in Topic::ALL {
            assert_eq!(topic.verdict(Channel::InApp, None), Verdict::Tell, "{topic:?}");
        }
        assert_eq!(Topic::PaymentSent.verdict(Channel::InApp, Some(false)), Verdict::Suppress(Suppression::Preference));
    }

    #[test]
    fn mail_is_for_welcomes_and_accounts_unless_asked_for() {
        let mailed = Topic::ALL.into_iter().filter(|topic| topic.verdict(Channel::Email, None) == Verdict::Tell);
        assert_eq!(mailed.collect::<Vec<_>>(), [Topic::Welcome, Topic::Account]);
        assert_eq!(Topic::PaymentReceived.verdict(Channel::Email, None), Verdict::Silent);
        assert_eq!(Topic::PaymentReceived.verdict(Channel::Email, Some(false)), Verdict::Silent);
        assert_eq!(Topic::PaymentReceived.verdict(Channel::Email, Some(true)), Verdict::Tell);
        assert_eq!(Topic::Account.verdict(Channel::Email, Some(false)), Verdict::Suppress(Suppression::Preference));
    }

    #[test]
    fn a_mandatory_notice_ignores_opt_out() {
        assert_eq!(Topic::Security.verdict(Channel::InApp, Some(false)), Verdict::Tell);
        assert_eq!(Topic::Security.verdict(Channel::Email, Some(false)), Verdict::Silent);
    }

    #[test]
    fn every_topic_is_read_back_from_its_name() {
        for topic in Topic::ALL {
            assert_eq!(topic.as_str().parse(), Ok(topic));
        }
        assert!("welcome".parse::<Topic>().is_err());
    }
}
