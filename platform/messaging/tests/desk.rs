//! What operators decide about parked messages, and what is on record of it.

mod rig;

use chrono::TimeDelta;
use rig::{Mood, Rig};
use uuid::Uuid;
use vostro_events::command::CommandRefusedV1;
use vostro_events::operator::{OperatorActedV1, OperatorAction, OperatorStep};
use vostro_kernel::{Actor, Page, RequestContext, Role, Roles, SystemIds};
use vostro_messaging::parking::{
    ApprovalPolicy, Decision, DeskError, ParkedMessage, ParkingAction, ParkingDesk, ParkingDesks, Selection,
};
use vostro_messaging::{ConsumptionDesk, InboxMode, Incoming};
use vostro_testkit::{Consuming, walked_both_ways};

struct Scene {
    rig: Rig,
    consuming: Consuming,
    desk: ParkingDesk,
    /// Three events of one key, the first of which is invalid.
    key: Vec<Incoming>,
}

impl Scene {
    async fn set(inbox: InboxMode, policy: ApprovalPolicy) -> Self {
        let rig = Rig::create(inbox).await;
        let key = rig.key(3);
        rig.handler.set(&key[0], Mood::Invalid);
        let consuming = rig.start();
        consuming.take(&key).await;
        let desk = ParkingDesk::new("account", rig.database.foundation_at(rig.clock.clone()), policy);
        Self { rig, consuming, desk, key }
    }

    async fn of_one_person() -> Self {
        Self::of_one_person_and(InboxMode::Rows).await
    }

    async fn of_one_person_and(inbox: InboxMode) -> Self {
        Self::set(inbox, ApprovalPolicy { subscriptions: Vec::new(), redrive: false, maintenance: false }).await
    }

    async fn of_two_people() -> Self {
        Self::set(
            InboxMode::Rows,
            ApprovalPolicy { subscriptions: vec!["account.*".to_owned()], redrive: false, maintenance: false },
        )
        .await
    }

    fn whole_key(&self) -> Selection {
        Selection { key: Some(self.key[0].envelope.partition_key), ..Selection::default() }
    }

    /// Action, step and named messages of everything on record.
    async fn record(&self) -> Vec<(OperatorAction, OperatorStep, usize)> {
        let events = self.rig.database.published(OperatorActedV1::TYPES[1]).await;
        let read = |event| serde_json::from_value::<OperatorActedV1>(event).expect("it fits");
        events.into_iter().map(read).map(|event| (event.action, event.step, event.messages.len())).collect()
    }
}

impl Scene {
    /// Command and code of every refusal on record.
    async fn refusals(&self) -> Vec<(String, String)> {
        let events = self.rig.database.published(CommandRefusedV1::TYPES[1]).await;
        let read = |event| serde_json::from_value::<CommandRefusedV1>(event).expect("it fits");
        events.into_iter().map(read).map(|event| (event.command, event.code)).collect()
    }
}

fn operator() -> RequestContext {
    person(&[Role::Operator])
}

fn person(roles: &[Role]) -> RequestContext {
    let roles: Roles = roles.iter().copied().collect();
    RequestContext::of(Actor::person(Uuid::now_v7(), roles, None), &SystemIds)
}

#[tokio::test]
async fn a_redriven_key_is_handled_in_order_and_redriving_twice_does_nothing_more() {
    let scene = Scene::of_one_person().await;
    let redrive = async || scene.desk.order(&operator(), ParkingAction::Redrive, &scene.whole_key(), "").await;
    assert_eq!(redrive().await.expect("redriven"), Decision::Done(1));
    assert_eq!(redrive().await.expect("taken"), Decision::Done(0));
    scene.rig.handler.set(&scene.key[0], Mood::Fine);
    assert_eq!(scene.consuming.retry_due().await, 1);
    assert_eq!(scene.rig.effects().await, Rig::ids(&scene.key));
    assert!(matches!(redrive().await, Err(DeskError::NothingSelected)));
    assert_eq!(scene.record().await, [(OperatorAction::Redrive, OperatorStep::Done, 3)]);
    scene.consuming.leaves_parked(0, 0).await;
}

#[tokio::test]
async fn skipping_the_first_message_lets_those_behind_it_go_on() {
    let scene = Scene::of_one_person().await;
    let skipped = scene.desk.order(&operator(), ParkingAction::Skip, &scene.whole_key(), "booked by hand").await;
    assert_eq!(skipped.expect("skipped"), Decision::Done(1));
    assert_eq!(scene.consuming.retry_due().await, 1);
    assert_eq!(scene.rig.effects().await, Rig::ids(&scene.key[1..]));
    scene.consuming.take(&scene.key[..1]).await;
    assert_eq!(
        scene.rig.effects().await,
        Rig::ids(&scene.key[1..]),
        "what was skipped stays skipped when it comes again"
    );
    assert_eq!(scene.record().await, [(OperatorAction::Skip, OperatorStep::Done, 1)]);
    scene.consuming.leaves_parked(0, 0).await;
}

#[tokio::test]
async fn what_was_given_up_stays_so_where_the_handler_alone_knows_what_it_has_handled() {
    let scene = Scene::of_one_person_and(InboxMode::Handler).await;
    scene.rig.handler.set(&scene.key[0], Mood::Fine);
    let skipped = scene.desk.order(&operator(), ParkingAction::Skip, &scene.whole_key(), "booked by hand").await;
    assert_eq!(skipped.expect("skipped"), Decision::Done(1));
    scene.consuming.take(&scene.key[..1]).await;
    assert_eq!(scene.rig.effects().await, Vec::<Uuid>::new(), "it came again before anybody looked");
    assert_eq!(scene.consuming.retry_due().await, 1);
    assert_eq!(scene.consuming.parked().await.waiting, 0);
    scene.consuming.take(&scene.key).await;
    assert_eq!(scene.rig.effects().await, Rig::ids(&scene.key[1..]), "it came again when nothing was parked any more");
    let restarted = scene.rig.start();
    restarted.take(&scene.key[..1]).await;
    assert_eq!(scene.rig.effects().await, Rig::ids(&scene.key[1..]), "it came again to another process");
    scene.consuming.leaves_parked(0, 0).await;
    restarted.leaves_parked(0, 0).await;
}

#[tokio::test]
async fn only_the_first_message_of_a_key_can_be_skipped_but_any_can_be_discarded() {
    let scene = Scene::of_one_person().await;
    let second = Selection { ids: vec![scene.key[1].envelope.id], ..Selection::default() };
    let refused = scene.desk.order(&operator(), ParkingAction::Skip, &second, "why not").await;
    assert!(matches!(refused, Err(DeskError::NotFirst(_))));
    let discarded = scene.desk.order(&operator(), ParkingAction::Discard, &second, "sent by mistake").await;
    assert_eq!(discarded.expect("discarded"), Decision::Done(1));
    assert_eq!(scene.consuming.retry_due().await, 0, "the first is still there, and so is its quarantine");
    scene.consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn giving_up_what_moves_money_takes_a_second_person() {
    let scene = Scene::of_two_people().await;
    let (ann, bob) = (operator(), person(&[Role::Admin]));
    let asked = scene.desk.order(&ann, ParkingAction::Discard, &scene.whole_key(), "sent twice").await.expect("asked");
    let Decision::Requested(request) = asked else { panic!("nobody was asked: {asked:?}") };
    assert_eq!(scene.rig.parked_events().await, Rig::ids(&scene.key), "nothing is done yet");
    assert!(matches!(scene.desk.decide(&ann, request, true).await, Err(DeskError::SamePerson)));

    // What comes meanwhile is not part of what was asked for.
    let late = scene.rig.next_of(&scene.key, 4);
    scene.consuming.take(std::slice::from_ref(&late)).await;
    assert_eq!(scene.desk.decide(&bob, request, true).await.expect("agreed"), Decision::Done(3));
    assert_eq!(scene.rig.parked_events().await, Rig::ids(std::slice::from_ref(&late)));
    assert!(matches!(scene.desk.decide(&bob, request, true).await, Err(DeskError::RequestDecided(_))));

    scene.consuming.retry_due().await;
    assert_eq!(scene.rig.effects().await, [late.envelope.id]);
    assert_eq!(
        scene.record().await,
        [(OperatorAction::Discard, OperatorStep::Requested, 3), (OperatorAction::Discard, OperatorStep::Approved, 3)]
    );
    let envelopes = scene.rig.database.outbox_events().await.into_iter().map(|(envelope, _)| envelope);
    let on_record: Vec<_> = envelopes
        .map(|envelope| (envelope.aggregate_type.into_owned(), envelope.sequence, envelope.cause.actor_id))
        .collect();
    let (operation, command) = ("operation".to_owned(), "command".to_owned());
    assert_eq!(
        on_record,
        [
            (operation.clone(), 1, ann.actor.id),
            (command.clone(), 1, ann.actor.id),
            (operation, 2, bob.actor.id),
            (command, 1, bob.actor.id),
        ],
        "refusals too"
    );
    scene.consuming.leaves_parked(0, 0).await;
}

#[tokio::test]
async fn parked_messages_of_several_modules_are_one_list_in_both_directions() {
    let scene = Scene::of_one_person().await;
    let empty = Rig::create(InboxMode::Rows).await;
    let other = Rig::create(InboxMode::Rows).await;
    let key = other.key(2);
    other.handler.set(&key[0], Mood::Invalid);
    let consuming = other.start();
    consuming.take(&key).await;
    let desk = |module, rig: &Rig| {
        ParkingDesk::new(module, rig.database.foundation_at(rig.clock.clone()), ApprovalPolicy::default())
    };
    // By their subscriptions the messages of both are of one module, so the desk that holds them tells them apart.
    let desks = ParkingDesks::new(vec![scene.desk.clone(), desk("empty", &empty), desk("other", &other)]);
    let module = |message: &ParkedMessage| {
        let of_other = message.event_id.is_some_and(|id| Rig::ids(&key).contains(&id));
        if of_other { "other" } else { "account" }.to_owned()
    };
    let everything = Selection::default();
    let read = async |page| desks.list(&everything, page).await.expect("readable");
    let all = walked_both_ways(|message| (module(message), message.position), read).await;
    let events: Vec<Uuid> = all.iter().filter_map(|message| message.event_id).collect();
    assert_eq!(events, [Rig::ids(&scene.key), Rig::ids(&key)].concat());
    scene.consuming.leaves_parked(0, 1).await;
    consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn requests_are_paged_alike_in_both_directions() {
    let scene = Scene::of_two_people().await;
    for number in 0..5 {
        let why = format!("reason {number}");
        let asked = scene.desk.order(&operator(), ParkingAction::Discard, &scene.whole_key(), &why).await;
        let Ok(Decision::Requested(request)) = asked else { panic!("nobody was asked: {asked:?}") };
        if number == 1 {
            scene.desk.decide(&operator(), request, false).await.expect("rejected");
        }
        // Two of the same moment are told apart by their ids.
        if number % 2 == 0 {
            scene.rig.clock.advance(TimeDelta::seconds(1));
        }
    }
    let desks = ParkingDesks::new(vec![scene.desk.clone()]);
    for (open_only, count) in [(true, 4), (false, 5)] {
        let read = async |page| desks.requests(open_only, page).await.expect("readable");
        let all = walked_both_ways(|request| (request.requested_at, request.id), read).await;
        assert_eq!(all.len(), count);
        assert!(all.is_sorted_by(|newer, older| (newer.requested_at, newer.id) > (older.requested_at, older.id)));
    }
    scene.consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn a_request_that_is_rejected_changes_nothing() {
    let scene = Scene::of_two_people().await;
    let asked = scene.desk.order(&operator(), ParkingAction::Skip, &scene.whole_key(), "impatience").await;
    let Ok(Decision::Requested(request)) = asked else { panic!("nobody was asked: {asked:?}") };
    assert_eq!(scene.desk.requests(true, Page::forward(None, 10)).await.expect("readable").len(), 1);
    assert_eq!(scene.desk.decide(&operator(), request, false).await.expect("rejected"), Decision::Done(0));
    assert_eq!(scene.desk.requests(true, Page::forward(None, 10)).await.expect("readable"), []);
    assert_eq!(scene.rig.parked_events().await, Rig::ids(&scene.key));
    scene.consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn the_database_too_refuses_that_one_person_asks_and_agrees() {
    let scene = Scene::of_two_people().await;
    let asked = scene.desk.order(&operator(), ParkingAction::Skip, &scene.whole_key(), "x").await.expect("asked");
    assert!(matches!(asked, Decision::Requested(_)));
    let both = "update parking_request set state = 'APPROVED', decided_by = requested_by, decided_at = now()";
    let refused = sqlx::query(both).execute(scene.rig.database.pool()).await.expect_err("refused");
    assert_eq!(refused.as_database_error().and_then(|error| error.constraint()), Some("four_eyes"));
    scene.consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn redriving_needs_no_second_person_unless_the_policy_says_so() {
    let scene = Scene::of_two_people().await;
    let redriven = scene.desk.order(&operator(), ParkingAction::Redrive, &scene.whole_key(), "").await;
    assert_eq!(redriven.expect("redriven"), Decision::Done(1));
    let policy =
        ApprovalPolicy { subscriptions: vec!["account.parking-test".to_owned()], redrive: true, maintenance: false };
    let strict = ParkingDesk::new("account", scene.rig.database.foundation(), policy);
    let asked = strict.order(&operator(), ParkingAction::Redrive, &scene.whole_key(), "fixed").await;
    assert!(matches!(asked, Ok(Decision::Requested(_))), "{asked:?}");
    scene.consuming.leaves_parked(1, 0).await;
}

#[tokio::test]
async fn customers_and_those_without_a_reason_are_refused() {
    let scene = Scene::of_one_person().await;
    let whole = scene.whole_key();
    for roles in [&[Role::Customer][..], &[Role::ComplianceOfficer]] {
        let refused = scene.desk.order(&person(roles), ParkingAction::Redrive, &whole, "").await;
        assert!(matches!(refused, Err(DeskError::Forbidden)), "{roles:?}");
    }
    for action in [ParkingAction::Skip, ParkingAction::Discard] {
        let refused = scene.desk.order(&operator(), action, &whole, "  ").await;
        assert!(matches!(refused, Err(DeskError::ReasonMissing)), "{action}");
    }
    assert_eq!(scene.record().await, []);
    scene.consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn a_message_is_shown_without_what_is_personal() {
    let scene = Scene::of_one_person().await;
    let shown = scene.desk.show(scene.key[0].envelope.id).await.expect("readable").expect("found");
    assert!(shown.message.is_first);
    assert_eq!(shown.message.reason_code, "INVALID");
    assert_eq!(shown.data[0]["name"], "[redacted]");
    let discarded = scene.desk.order(&operator(), ParkingAction::Discard, &scene.whole_key(), "all of it").await;
    assert_eq!(discarded.expect("discarded"), Decision::Done(3));
    let events = scene.rig.database.published(OperatorActedV1::TYPES[1]).await;
    assert_eq!(events[0]["messages"][0]["digest"], shown.digest, "the record names what was shown");
    assert_eq!(shown.data[0]["accountId"], scene.key[0].envelope.aggregate_id.to_string());
    assert_eq!(scene.desk.show(Uuid::now_v7()).await.expect("readable"), None);
    scene.consuming.leaves_parked(0, 0).await;
}

#[tokio::test]
async fn a_decision_about_many_messages_is_on_record_in_parts() {
    let scene = Scene::of_one_person().await;
    let many = scene.rig.key(250);
    scene.rig.handler.set(&many[0], Mood::Invalid);
    scene.consuming.take(&many).await;
    let selection = Selection { key: Some(many[0].envelope.partition_key), ..Selection::default() };
    let discarded = scene.desk.order(&operator(), ParkingAction::Discard, &selection, "a flood").await;
    assert_eq!(discarded.expect("discarded"), Decision::Done(250));
    let named: Vec<usize> = scene.record().await.into_iter().map(|(_, _, messages)| messages).collect();
    assert_eq!(named, [100, 100, 50]);
    scene.rig.clock.advance(TimeDelta::days(1));
    scene.consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn what_is_refused_before_a_desk_is_found_is_on_record_too() {
    let scene = Scene::of_one_person().await;
    let desks = ParkingDesks::new(vec![scene.desk.clone()]);
    let order = async |context: &RequestContext, module: Option<&str>, selection: &Selection| {
        desks
            .order(context, ParkingAction::Discard, module, selection, "because")
            .await
            .expect_err("refused")
            .to_string()
    };
    let (nothing, missing) = (Selection::default(), Selection { key: Some(Uuid::now_v7()), ..Selection::default() });
    let refused = [
        order(&person(&[Role::Customer]), None, &scene.whole_key()).await,
        order(&operator(), None, &nothing).await,
        order(&operator(), None, &missing).await,
        order(&operator(), Some("nowhere"), &scene.whole_key()).await,
        desks.decide(&operator(), Uuid::now_v7(), true).await.expect_err("refused").to_string(),
    ];
    let code = |text: &String| text.split_once(':').expect("a code").0.to_owned();
    let expected: Vec<(String, String)> =
        ["parkedDiscard", "parkedDiscard", "parkedDiscard", "parkedDiscard", "parkingRequestApprove"]
            .into_iter()
            .map(ToOwned::to_owned)
            .zip(refused.iter().map(code))
            .collect();
    assert_eq!(scene.refusals().await, expected);
    assert_eq!(scene.record().await, [], "nothing was done");
    scene.consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn who_stops_consumers_says_why_and_who_starts_them_need_not() {
    let scene = Scene::of_one_person().await;
    let desk = ConsumptionDesk::new("account", scene.rig.database.foundation());
    let refused = desk.switch(&person(&[Role::Operator]), true, Some("  ")).await;
    assert!(matches!(refused, Err(DeskError::ReasonMissing)), "{refused:?}");
    assert_eq!(scene.refusals().await, [("modulePause".to_owned(), "PARKING_REASON_MISSING".to_owned())]);
    assert!(desk.switch(&person(&[Role::Operator]), true, Some("a test")).await.expect("stopped"));
    assert!(desk.switch(&person(&[Role::Operator]), false, None).await.expect("started"));
    scene.consuming.leaves_parked(0, 1).await;
}

#[tokio::test]
async fn whoever_may_not_stop_consumers_is_on_record() {
    let scene = Scene::of_one_person().await;
    let desk = ConsumptionDesk::new("account", scene.rig.database.foundation());
    let refused = desk.switch(&person(&[Role::Customer]), true, Some("mischief")).await;
    assert!(matches!(refused, Err(DeskError::Forbidden)), "{refused:?}");
    assert_eq!(scene.refusals().await, [("modulePause".to_owned(), "PARKING_FORBIDDEN".to_owned())]);
    scene.consuming.leaves_parked(0, 1).await;
}
