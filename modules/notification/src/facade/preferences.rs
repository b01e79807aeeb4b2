use vostro_events::notification::Channel;
use vostro_kernel::{Refusal, RequestContext};

use super::{Notifications, person};
use crate::domain::{Choices, Topic};
use crate::publish;
use crate::store::preferences;
use crate::{NotificationError, NotificationErrorCode};

/// Whether a person hears about a topic on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preference {
    pub topic: Topic,
    pub channel: Channel,
    pub enabled: bool,
    /// It cannot be switched off.
    pub mandatory: bool,
}

impl Notifications {
    /// The caller's preferences: each topic on each channel.
    ///
    /// # Errors
    /// Database faults.
    pub async fn preferences(&self, context: &RequestContext) -> Result<Vec<Preference>, NotificationError> {
        let choices = preferences::choices(&self.0.foundation.pool, person(context)?).await?;
        Ok(listed(&choices))
    }

    /// Switches a topic on or off on a channel and returns all preferences. What is so already stays so, without an event.
    ///
    /// # Errors
    /// Refused with `NTF_TOPIC_MANDATORY`; database faults.
    pub async fn preferences_update(
        &self,
        context: &RequestContext,
        topic: Topic,
        channel: Channel,
        enabled: bool,
    ) -> Result<Vec<Preference>, NotificationError> {
        let user = person(context)?;
        if topic.mandatory(channel) && !enabled {
            let refusal = Refusal::new(NotificationErrorCode::TopicMandatory).at(&["input", "enabled"]);
            return Err(self.refuse(context, publish::PREFERENCES_UPDATE, refusal, None).await);
        }
        let foundation = &self.0.foundation;
        let mut transaction = foundation.begin().await?;
        preferences::lock_in_tx(&mut transaction, user).await?;
        let mut choices = preferences::choices(&mut *transaction, user).await?;
        let chosen = choices.get(&(topic, channel)).copied();
        if topic.enabled(channel, chosen) == enabled {
            return Ok(listed(&choices));
        }
        let sequence = preferences::choose_in_tx(&mut transaction, user, topic, channel, enabled).await?;
        let changed = publish::choice(user, topic, channel, enabled);
        let (ids, now) = (foundation.ids.as_ref(), foundation.clock.now());
        let event = publish::preference_changed(ids, context, &changed, sequence, now);
        foundation.outbox.append_in_tx(&mut transaction, vec![event]).await?;
        transaction.commit().await?;
        foundation.outbox.committed();
        choices.insert((topic, channel), enabled);
        Ok(listed(&choices))
    }
}

fn listed(choices: &Choices) -> Vec<Preference> {
    let every = Topic::ALL.into_iter().flat_map(|topic| Channel::ALL.map(|channel| (topic, channel)));
    every
        .map(|(topic, channel)| Preference {
            topic,
            channel,
            enabled: topic.enabled(channel, choices.get(&(topic, channel)).copied()),
            mandatory: topic.mandatory(channel),
        })
        .collect()
}
