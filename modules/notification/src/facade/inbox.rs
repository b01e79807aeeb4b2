use uuid::Uuid;
use vostro_events::Cause;
use vostro_events::notification::Channel;
use vostro_kernel::{Page, RequestContext};

use super::{Notifications, person};
use crate::domain::{Notification, Status, reading};
use crate::publish;
use crate::store::Stored;
use crate::store::notifications::{self, Wanted};
use crate::templates::InAppText;
use crate::{NotificationError, NotificationErrorCode};

/// Which notifications a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only this channel.
    pub channel: Option<Channel>,
    /// `true`: only what waits in the app to be read; `false`: only what has been read.
    pub unread: Option<bool>,
}

impl Notifications {
    /// How far unread notifications are counted. Nobody reads a larger number, and counting costs time.
    pub const MOST_UNREAD_COUNTED: i64 = 10_000;

    /// A page of the caller's notifications, newest first, which count as delivered with this, and beside it one more where
    /// there is one, which does not and only tells that the list goes on. What was suppressed is not in it; an e-mail shows
    /// the text of the app, as its own is not kept.
    ///
    /// # Errors
    /// Database faults.
    pub async fn notifications(
        &self,
        context: &RequestContext,
        filter: Filter,
        page: Page<i64>,
    ) -> Result<Vec<Notification>, NotificationError> {
        let user = person(context)?;
        let wanted = Wanted { channel: filter.channel, unread: filter.unread };
        let mut stored = notifications::page(&self.0.foundation.pool, user, wanted, page.and_one_more()).await?;
        let shown = page.shown(stored.len());
        let begin = shown.start;
        let handed_out = self.hand_out(context, user, stored.drain(shown).collect()).await;
        let mut list: Vec<_> = stored.into_iter().map(|beyond| self.in_words(beyond)).collect();
        list.splice(begin..begin, handed_out);
        Ok(list)
    }

    /// Those of these notifications that are the caller's, in no order that means anything.
    ///
    /// # Errors
    /// Database faults.
    pub async fn notifications_by_id(
        &self,
        context: &RequestContext,
        ids: &[Uuid],
    ) -> Result<Vec<Notification>, NotificationError> {
        let user = person(context)?;
        let stored = notifications::by_ids(&self.0.foundation.pool, user, ids).await?;
        Ok(self.hand_out(context, user, stored).await)
    }

    /// Which of these notifications are the caller's, without handing any out: none counts as delivered with this.
    ///
    /// # Errors
    /// Database faults.
    pub async fn visible_ids(&self, context: &RequestContext, ids: &[Uuid]) -> Result<Vec<Uuid>, NotificationError> {
        let stored = notifications::by_ids(&self.0.foundation.pool, person(context)?, ids).await?;
        Ok(stored.into_iter().map(|stored| stored.id).collect())
    }

    /// How many notifications wait in the app to be read by the caller, counted up to
    /// [`Notifications::MOST_UNREAD_COUNTED`].
    ///
    /// # Errors
    /// Database faults.
    pub async fn unread_count(&self, context: &RequestContext) -> Result<i64, NotificationError> {
        let user = person(context)?;
        Ok(notifications::unread(&self.0.foundation.pool, user, Self::MOST_UNREAD_COUNTED).await?)
    }

    /// Notes that the caller has read a notification. Doing it twice changes nothing.
    ///
    /// # Errors
    /// Refused with `NTF_NOT_FOUND` for what is not the caller's, `NTF_NOT_DELIVERED` for an e-mail still on its way;
    /// database faults.
    pub async fn mark_read(&self, context: &RequestContext, id: Uuid) -> Result<Notification, NotificationError> {
        let user = person(context)?;
        match self.try_mark_read(context, user, id).await? {
            Ok(()) => {
                let stored = notifications::by_ids(&self.0.foundation.pool, user, &[id]).await?;
                let found = stored.into_iter().next().ok_or(NotificationErrorCode::NotFound)?;
                Ok(self.in_words(found))
            }
            Err(code) => Err(self.refuse(context, publish::MARK_READ, code.into(), Some(id)).await),
        }
    }

    async fn try_mark_read(
        &self,
        context: &RequestContext,
        user: Uuid,
        id: Uuid,
    ) -> sqlx::Result<Result<(), NotificationErrorCode>> {
        let foundation = &self.0.foundation;
        let mut transaction = foundation.begin().await?;
        let Some((channel, status)) = notifications::lock_in_tx(&mut transaction, user, id).await? else {
            return Ok(Err(NotificationErrorCode::NotFound));
        };
        match reading(channel, status) {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(())),
            Err(code) => return Ok(Err(code)),
        }
        let (ids, now) = (foundation.ids.as_ref(), foundation.clock.now());
        notifications::read_in_tx(&mut transaction, id, now).await?;
        let mut events = Vec::with_capacity(2);
        if status == Status::Sent {
            // Reading what no client was seen to fetch proves that one did.
            let cause = publish::fetched_by(context);
            events.push(publish::delivered(ids, id, user, channel, publish::CLIENT, cause, now));
        }
        events.push(publish::read(ids, id, user, Cause::command(context, publish::MARK_READ), now));
        foundation.outbox.append_in_tx(&mut transaction, events).await?;
        transaction.commit().await?;
        foundation.outbox.committed();
        Ok(Ok(()))
    }

    /// Gives notifications to the client behind `context`: marks them as delivered and puts them into words.
    pub(super) async fn hand_out(
        &self,
        context: &RequestContext,
        user: Uuid,
        mut stored: Vec<Stored>,
    ) -> Vec<Notification> {
        self.0.receipts.mark(user, publish::fetched_by(context), &mut stored).await;
        stored.into_iter().map(|stored| self.in_words(stored)).collect()
    }

    fn in_words(&self, stored: Stored) -> Notification {
        let InAppText { title, body } = self.text(&stored);
        Notification {
            id: stored.id,
            sequence: stored.sequence,
            user_id: stored.user_id,
            topic: stored.topic,
            channel: stored.channel,
            status: stored.status,
            title,
            body,
            source_event_id: stored.source_event_id,
            created_at: stored.created_at,
            delivered_at: stored.delivered_at,
            read_at: stored.read_at,
        }
    }

    /// A message that cannot be put into words is shown as such, so that it does not take the others with it.
    fn text(&self, stored: &Stored) -> InAppText {
        let templates = &self.0.templates;
        let words = match &stored.message {
            Some(message) => templates.in_app(message, stored.account.as_deref(), stored.locale),
            None => templates.unreadable(stored.locale),
        };
        words
            .inspect_err(|error| tracing::error!(notification = %stored.id, %error, "a notification has no words"))
            .or_else(|_| templates.unreadable(stored.locale))
            .unwrap_or_else(|_| InAppText { title: stored.topic.as_str().to_owned(), body: String::new() })
    }
}
