use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use uuid::Uuid;
use vostro_kernel::{Page, RequestContext};

use super::desk::{authorised, decision_command, module_of};
use super::request::RequestState;
use super::{Decision, DeskError, ParkedMessage, ParkedPayload, ParkingAction, ParkingDesk, ParkingRequest, Selection};

/// The desks of all modules, or of some: what operators ask whatever module it is about. Cheap to clone.
#[derive(Clone)]
pub struct ParkingDesks(Vec<ParkingDesk>);

impl ParkingDesks {
    pub const fn new(desks: Vec<ParkingDesk>) -> Self {
        Self(desks)
    }

    /// The desks that may hold such messages: the named module's, or that of the selected subscription.
    ///
    /// # Errors
    /// [`DeskError::ModuleUnknown`].
    pub fn about(&self, module: Option<&str>, selection: &Selection) -> Result<Self, DeskError> {
        let of_subscription = selection.subscription.as_deref().map(module_of);
        for wanted in [module, of_subscription].into_iter().flatten() {
            if self.0.iter().all(|desk| desk.module() != wanted) {
                return Err(DeskError::ModuleUnknown(wanted.to_owned()));
            }
        }
        let is_wanted = |desk: &ParkingDesk, wanted: Option<&str>| wanted.is_none_or(|wanted| wanted == desk.module());
        let wanted = self.0.iter().filter(|desk| is_wanted(desk, module) && is_wanted(desk, of_subscription));
        Ok(Self(wanted.cloned().collect()))
    }

    /// Each module's desk.
    pub fn iter(&self) -> impl Iterator<Item = &ParkingDesk> {
        self.0.iter()
    }

    /// A page of the parked messages, module by module in the order of parking; its key is a module and a position there.
    ///
    /// # Errors
    /// Database faults.
    pub async fn list(&self, selection: &Selection, page: Page<(String, i64)>) -> sqlx::Result<Vec<ParkedMessage>> {
        let Page { direction, limit, .. } = page;
        let outwards = page.in_order(self.iter().collect());
        let (begin, mut position) = page.from.as_ref().map_or((0, None), |(module, position)| {
            let begin = outwards.iter().position(|desk| desk.module() == module);
            (begin.unwrap_or(outwards.len()), Some(*position))
        });
        let mut messages = Vec::new();
        for desk in &outwards[begin..] {
            let missing = limit - i64::try_from(messages.len()).unwrap_or(limit);
            if missing <= 0 {
                break;
            }
            let of_module = Page { from: position.take(), direction, limit: missing };
            messages.extend(page.in_order(desk.list(selection, of_module).await?));
        }
        Ok(page.in_order(messages))
    }

    /// One message with its data, personal things left out. By its own id or that of its event.
    ///
    /// # Errors
    /// Database faults.
    pub async fn show(&self, id: Uuid) -> sqlx::Result<Option<ParkedPayload>> {
        for desk in &self.0 {
            if let Some(payload) = desk.show(id).await? {
                return Ok(Some(payload));
            }
        }
        Ok(None)
    }

    /// A page of the requests for a second person of all these modules, newest first.
    ///
    /// # Errors
    /// Database faults.
    pub async fn requests(
        &self,
        open_only: bool,
        page: Page<(DateTime<Utc>, Uuid)>,
    ) -> sqlx::Result<Vec<ParkingRequest>> {
        let mut requests = Vec::new();
        for desk in &self.0 {
            requests.extend(desk.requests(open_only, page).await?);
        }
        Ok(page.merged(requests, |request| Reverse((request.requested_at, request.id))))
    }

    /// One request.
    ///
    /// # Errors
    /// Database faults.
    pub async fn request(&self, id: Uuid) -> sqlx::Result<Option<ParkingRequest>> {
        Ok(self.with_request(id).await?.map(|(_, request)| request))
    }

    /// Orders something done, see [`ParkingDesk::order`]. The selection has to say something and to be about one module: the
    /// named one, if one is named.
    ///
    /// # Errors
    /// [`DeskError`]. A refusal is on record under the id of the command.
    pub async fn order(
        &self,
        context: &RequestContext,
        action: ParkingAction,
        module: Option<&str>,
        selection: &Selection,
        reason: &str,
    ) -> Result<Decision, DeskError> {
        let found = self.desk_for(context, module, selection).await;
        let desk = self.recorded(context, action.command(), None, found).await?;
        desk.order(context, action, selection, reason).await
    }

    /// The one desk that has such messages.
    async fn desk_for(
        &self,
        context: &RequestContext,
        module: Option<&str>,
        selection: &Selection,
    ) -> Result<ParkingDesk, DeskError> {
        authorised(context)?;
        let about = self.about(module, selection)?;
        if *selection == Selection::default() {
            return Err(DeskError::SelectionEmpty);
        }
        let mut found = Vec::new();
        for desk in about.0 {
            if !desk.list(selection, Page::forward(None, 1)).await?.is_empty() {
                found.push(desk);
            }
        }
        match found.pop() {
            None => Err(DeskError::NothingSelected),
            Some(desk) if found.is_empty() => Ok(desk),
            Some(_) => Err(DeskError::SeveralSubscriptions),
        }
    }

    /// A refusal before it is known which module it is about is told by the first one.
    async fn recorded<T>(
        &self,
        context: &RequestContext,
        command: &'static str,
        subject_id: Option<Uuid>,
        result: Result<T, DeskError>,
    ) -> Result<T, DeskError> {
        match self.0.first() {
            Some(desk) => desk.recorded(context, command, subject_id, result).await,
            None => result,
        }
    }

    /// Agrees to what somebody else asked for, or refuses it, see [`ParkingDesk::decide`]; and the request after that.
    ///
    /// # Errors
    /// [`DeskError`]. A refusal is on record under the id of the command.
    pub async fn decide(
        &self,
        context: &RequestContext,
        id: Uuid,
        agree: bool,
    ) -> Result<(ParkingRequest, Decision), DeskError> {
        let found = self.to_decide(context, id).await;
        let (desk, request) = self.recorded(context, decision_command(agree), Some(id), found).await?;
        let decision = desk.decide(context, id, agree).await?;
        // It is done and committed: whoever asked is told so, even when the database has gone since.
        let decided = desk.request(id).await.ok().flatten().unwrap_or(ParkingRequest {
            state: if agree { RequestState::Approved } else { RequestState::Rejected },
            decided_by: context.actor.id,
            ..request
        });
        Ok((decided, decision))
    }

    async fn to_decide(&self, context: &RequestContext, id: Uuid) -> Result<(&ParkingDesk, ParkingRequest), DeskError> {
        authorised(context)?;
        self.with_request(id).await?.ok_or(DeskError::RequestUnknown(id))
    }

    async fn with_request(&self, id: Uuid) -> sqlx::Result<Option<(&ParkingDesk, ParkingRequest)>> {
        for desk in &self.0 {
            if let Some(request) = desk.request(id).await? {
                return Ok(Some((desk, request)));
            }
        }
        Ok(None)
    }
}
