use anyhow::bail;
use clap::Subcommand;
use serde_json::{Value, json};
use uuid::Uuid;
use vostro_kernel::Page;
use vostro_messaging::parking::{
    Decision, DeskError, ParkedMessage, ParkedPayload, ParkingAction, ParkingDesks, ParkingRequest, Selection,
};

use super::operator::OperatorArgs;
use super::output;
use crate::app;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub enum ParkedCommand {
    /// Messages that wait in order behind one that could not be handled, dead letters included. Exit status 1 when there
    /// is any.
    #[command(
        after_help = "Examples:\n  vostro parked list\n  vostro parked list --subscription account.postings --state QUARANTINED\n  vostro parked list --json | jq '.[].id'"
    )]
    List {
        #[command(flatten)]
        selection: SelectionArgs,
        /// At most this many of each module.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// One message with its data. Ids, amounts, times and codes are shown; what may be personal is not.
    #[command(after_help = "Example:\n  vostro parked show 01890a5d-ac96-774b-bcce-b302099a8021")]
    Show {
        /// The id of the message or of its event.
        id: Uuid,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Try the keys of the selected messages again now, each in order from its first message. Twice is as good as once.
    #[command(
        after_help = "Examples:\n  vostro parked redrive --subscription transaction.postings --operator ann@bank.example\n  vostro parked redrive --key 01890a5d-ac96-774b-bcce-b302099a8001 --operator ann@bank.example"
    )]
    Redrive(OrderArgs),
    /// Pass over the first message of a key for good; the next one is tried at once.
    #[command(
        after_help = "Example:\n  vostro parked skip 01890a5d-ac96-774b-bcce-b302099a8021 --reason 'booked by hand, ticket 4711' --operator ann@bank.example"
    )]
    Skip(OrderArgs),
    /// Give the selected messages up for good.
    #[command(
        after_help = "Example:\n  vostro parked discard --subscription compliance.archive --code UNDECODABLE --reason 'sent by a test system' --operator ann@bank.example"
    )]
    Discard(OrderArgs),
    /// What waits for a second person to agree.
    Requests {
        /// Decided ones too.
        #[arg(long)]
        all: bool,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Agree to what somebody else asked for; it is done with that.
    #[command(
        after_help = "Example:\n  vostro parked approve 01890a5d-ac96-774b-bcce-b302099a8020 --operator bob@bank.example"
    )]
    Approve(DecideArgs),
    /// Refuse what somebody else asked for; nothing is done.
    Reject(DecideArgs),
}

#[derive(Debug, clap::Args)]
pub struct SelectionArgs {
    /// Ids of messages or of their events.
    ids: Vec<Uuid>,
    /// Only this module's.
    #[arg(long)]
    module: Option<String>,
    /// Only this subscription's, `<module>.<name>`.
    #[arg(long)]
    subscription: Option<String>,
    /// Only this key's: everything that is kept in order together.
    #[arg(long)]
    key: Option<Uuid>,
    /// Only events of this type.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only keys parked for this reason, such as INVALID.
    #[arg(long)]
    code: Option<String>,
    /// Only keys that are WAITING, or QUARANTINED.
    #[arg(long, value_parser = ["WAITING", "QUARANTINED"])]
    state: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct OrderArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Why. Goes to the audit log; needed for skip and discard.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    operator: OperatorArgs,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct DecideArgs {
    /// The id of the request.
    request: Uuid,
    #[command(flatten)]
    operator: OperatorArgs,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

impl SelectionArgs {
    fn selection(&self) -> Selection {
        Selection {
            ids: self.ids.clone(),
            key: self.key,
            subscription: self.subscription.clone(),
            event_type: self.event_type.clone(),
            reason_code: self.code.clone(),
            state: self.state.clone(),
        }
    }

    /// The desks that may hold such messages.
    fn desks(&self, config: &Config) -> anyhow::Result<ParkingDesks> {
        self.refuse_unknown()?;
        Ok(app::parking_desks(config)?.about(self.module.as_deref(), &self.selection())?)
    }

    fn refuse_unknown(&self) -> anyhow::Result<()> {
        let manifests = app::manifests();
        if let Some(name) = &self.subscription
            && !manifests.iter().flat_map(|manifest| &manifest.subscribes).any(|known| known.group() == *name)
        {
            bail!("no subscription is called {name}");
        }
        Ok(())
    }
}

pub async fn run(config: &Config, command: &ParkedCommand) -> anyhow::Result<bool> {
    match command {
        ParkedCommand::List { selection, limit, json } => list(config, selection, *limit, *json).await,
        ParkedCommand::Show { id, json } => show(config, *id, *json).await,
        ParkedCommand::Redrive(order) => give(config, ParkingAction::Redrive, order).await,
        ParkedCommand::Skip(order) => give(config, ParkingAction::Skip, order).await,
        ParkedCommand::Discard(order) => give(config, ParkingAction::Discard, order).await,
        ParkedCommand::Requests { all, json } => requests(config, *all, *json).await,
        ParkedCommand::Approve(arguments) => decide(config, arguments, true).await,
        ParkedCommand::Reject(arguments) => decide(config, arguments, false).await,
    }
}

async fn list(config: &Config, selection: &SelectionArgs, limit: i64, as_json: bool) -> anyhow::Result<bool> {
    let mut messages = Vec::new();
    for desk in selection.desks(config)?.iter() {
        messages.extend(desk.list(&selection.selection(), Page::forward(None, limit)).await?);
    }
    if as_json {
        output::json(&messages.iter().map(message_json).collect());
    } else if messages.is_empty() {
        output::text("Nothing is parked.");
    } else {
        let headings = ["id", "subscription", "key", "event", "state", "attempts", "parked at", "code", "reason"];
        output::text(&output::table(headings, &messages.iter().map(message_row).collect::<Vec<_>>()));
    }
    Ok(messages.is_empty())
}

fn message_json(message: &ParkedMessage) -> Value {
    json!({
        "id": message.id, "subscription": message.subscription, "key": message.key, "isFirst": message.is_first,
        "eventId": message.event_id, "eventType": message.event_type, "parkedAt": message.parked_at,
        "state": message.state, "attempts": message.attempts, "nextAttemptAt": message.next_attempt_at,
        "reasonCode": message.reason_code, "reason": message.reason,
    })
}

fn message_row(message: &ParkedMessage) -> [String; 9] {
    // What waits behind the first of its key has no state and no reason of its own.
    let own = |text: &str| if message.is_first { text.to_owned() } else { "-".to_owned() };
    [
        message.id.to_string(),
        message.subscription.clone(),
        message.key.to_string(),
        message.event_type.clone().unwrap_or_else(|| "-".to_owned()),
        if message.is_first { message.state.clone() } else { "BEHIND".to_owned() },
        own(&message.attempts.to_string()),
        output::time(message.parked_at),
        own(&message.reason_code),
        own(&message.reason),
    ]
}

async fn show(config: &Config, id: Uuid, as_json: bool) -> anyhow::Result<bool> {
    let Some(payload) = app::parking_desks(config)?.show(id).await? else {
        bail!("no parked message has the id {id}, nor an event with it");
    };
    let ParkedPayload { message, content_type, size, digest, data } = payload;
    let mut value = message_json(&message);
    value["contentType"] = json!(content_type);
    value["size"] = json!(size);
    value["digest"] = json!(digest);
    value["data"] = json!(data);
    if as_json {
        output::json(&value);
    } else {
        let fields = value.as_object().into_iter().flatten().filter(|(name, _)| *name != "data");
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let rows: Vec<[String; 2]> = fields.map(|(name, value)| [name.clone(), text(value)]).collect();
        output::text(&output::table(["field", "value"], &rows));
        output::json(&value["data"]);
    }
    Ok(true)
}

async fn give(config: &Config, action: ParkingAction, order: &OrderArgs) -> anyhow::Result<bool> {
    let selection = order.selection.selection();
    order.selection.refuse_unknown()?;
    let desks = app::parking_desks(config)?;
    let context = order.operator.sign_in(config).await?;
    match desks.order(&context, action, order.selection.module.as_deref(), &selection, &order.reason).await {
        Ok(decision) => report(decision, action, order.json),
        Err(DeskError::NothingSelected) => {
            say(order.json, "nothing", 0, None, "No parked message is selected; nothing was done.");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(true)
}

async fn decide(config: &Config, arguments: &DecideArgs, agree: bool) -> anyhow::Result<bool> {
    let context = arguments.operator.sign_in(config).await?;
    let (request, decision) = app::parking_desks(config)?.decide(&context, arguments.request, agree).await?;
    if agree {
        report(decision, request.action, arguments.json);
    } else {
        say(arguments.json, "rejected", 0, Some(request.id), "Rejected; nothing was done.");
    }
    Ok(true)
}

fn report(decision: Decision, action: ParkingAction, as_json: bool) {
    match (decision, action) {
        (Decision::Requested(id), _) => {
            let text =
                format!("A second person has to agree:\n  vostro parked approve {id} --operator <somebody else>");
            say(as_json, "requested", 0, Some(id), &text);
        }
        (Decision::Done(0), _) => say(as_json, "nothing", 0, None, "There was nothing left to do."),
        (Decision::Done(keys), ParkingAction::Redrive) => {
            say(as_json, "done", keys, None, &format!("{keys} keys are tried again now, each in its order."));
        }
        (Decision::Done(messages), _) => {
            say(as_json, "done", messages, None, &format!("{messages} messages were taken out."));
        }
    }
}

fn say(as_json: bool, outcome: &str, count: u64, request: Option<Uuid>, text: &str) {
    if as_json {
        output::json(&json!({"outcome": outcome, "count": count, "requestId": request}));
    } else {
        output::text(text);
    }
}

async fn requests(config: &Config, all: bool, as_json: bool) -> anyhow::Result<bool> {
    let requests = app::parking_desks(config)?.requests(!all, Page::forward(None, 1_000)).await?;
    if as_json {
        output::json(&requests.iter().map(request_json).collect());
    } else if requests.is_empty() {
        output::text("Nothing waits for a second person.");
    } else {
        let rows: Vec<[String; 7]> = requests.iter().map(request_row).collect();
        let headings = ["request", "action", "subscription", "messages", "state", "asked at", "reason"];
        output::text(&output::table(headings, &rows));
    }
    Ok(true)
}

fn request_json(request: &ParkingRequest) -> Value {
    json!({
        "id": request.id, "action": request.action.as_str(), "subscription": request.subscription,
        "messages": request.messages, "reason": request.reason, "state": request.state.as_str(),
        "requestedBy": request.requested_by, "requestedAt": request.requested_at,
        "decidedBy": request.decided_by, "decidedAt": request.decided_at,
    })
}

fn request_row(request: &ParkingRequest) -> [String; 7] {
    [
        request.id.to_string(),
        request.action.to_string(),
        request.subscription.clone(),
        request.messages.len().to_string(),
        request.state.as_str().to_owned(),
        output::time(request.requested_at),
        request.reason.clone(),
    ]
}
