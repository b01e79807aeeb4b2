//! Profiles, roles and staff: who sees whom, and who may change what.

mod common;

use std::collections::BTreeSet;

use common::{Bank, PASSWORD, anonymous, code, config, registration, system};
use futures::future::join_all;
use secrecy::ExposeSecret as _;
use uuid::Uuid;
use vostro_auth::{AuthErrorCode, NewStaff, ProfileChange};
use vostro_kernel::{ActorKind, Role, Roles};
use vostro_messaging::{ContactKey, Module as _};

const ADA: &str = "ada@example.org";
const EVE: &str = "eve@example.org";

fn roles(roles: &[Role]) -> Roles {
    roles.iter().copied().collect()
}

fn name(name: &str) -> ProfileChange {
    ProfileChange { display_name: Some(name.to_owned()), locale: None }
}

#[tokio::test]
async fn a_person_sees_themselves() {
    let bank = Bank::open().await;
    let login = bank.customer(ADA).await;
    let me = bank.auth.me(&bank.request(&login.tokens)).await.expect("an answer");
    assert_eq!(me, Some(login.user));
    assert_eq!(bank.auth.me(&anonymous()).await.expect("an answer"), None);
    assert_eq!(bank.auth.me(&system()).await.expect("an answer"), None);
}

#[tokio::test]
async fn customers_see_nobody_else_and_staff_see_everybody() {
    let bank = Bank::open().await;
    let (ada, eve) = (bank.customer(ADA).await, bank.customer(EVE).await);
    let ids = [ada.user.id, eve.user.id, Uuid::now_v7()];
    let seen = async |context| {
        let users = bank.auth.users_by_id(&context, &ids).await.expect("an answer");
        users.into_iter().map(|user| user.email).collect::<BTreeSet<_>>()
    };
    assert_eq!(seen(anonymous()).await, BTreeSet::new());
    assert_eq!(seen(bank.request(&eve.tokens)).await, BTreeSet::from([EVE.to_owned()]));
    for role in [Role::ComplianceOfficer, Role::Operator, Role::Admin] {
        let staff = bank.staff(&format!("{}@bank.example", role.as_str()), &[role]).await;
        assert_eq!(seen(bank.request(&staff.tokens)).await, BTreeSet::from([ADA.to_owned(), EVE.to_owned()]));
    }
}

#[tokio::test]
async fn a_changed_profile_is_told_with_what_changed_and_the_values_after() {
    let bank = Bank::open().await;
    let login = bank.customer(ADA).await;
    let request = bank.request(&login.tokens);
    let change = ProfileChange { display_name: Some("Ada King".into()), locale: Some("FR".into()) };
    let user = bank.auth.profile_update(&request, change).await.expect("changed");
    assert_eq!((user.display_name.as_str(), user.locale.as_str()), ("Ada King", "fr"));
    assert_eq!(bank.auth.me(&request).await.expect("an answer"), Some(user.clone()));

    let event = bank.database.published("auth.user-updated.v1").await.remove(0);
    assert_eq!(event["changedFields"], serde_json::json!(["displayName", "locale"]));
    assert_eq!(event["locale"], "fr");
    let key = ContactKey::derive(config().contact_secret.expose_secret());
    let contact = key.open(user.id, event["sealedContact"].as_str().expect("text")).expect("opens");
    assert_eq!((contact.display_name.as_str(), contact.email.as_str()), ("Ada King", ADA));
    assert_eq!(bank.told_about(user.id).await.last(), Some(&("auth.user-updated.v1".into(), 3)));
}

#[tokio::test]
async fn a_change_to_what_is_there_already_is_no_event() {
    let bank = Bank::open().await;
    let login = bank.customer(ADA).await;
    let request = bank.request(&login.tokens);
    for change in [name(" Ada Lovelace"), ProfileChange::default()] {
        assert_eq!(bank.auth.profile_update(&request, change).await.expect("an answer"), login.user);
    }
    assert_eq!(bank.database.published("auth.user-updated.v1").await.len(), 0);
}

#[tokio::test]
async fn a_profile_that_breaks_a_rule_stays_as_it_is() {
    let bank = Bank::open().await;
    let login = bank.customer(ADA).await;
    let request = bank.request(&login.tokens);
    let refused = async |change| code(bank.auth.profile_update(&request, change).await);
    assert_eq!(refused(name("")).await, AuthErrorCode::DisplayNameInvalid);
    let change = ProfileChange { display_name: Some("Ada King".into()), locale: Some("?".into()) };
    assert_eq!(refused(change).await, AuthErrorCode::LocaleInvalid);
    assert_eq!(code(bank.auth.profile_update(&anonymous(), name("x")).await), AuthErrorCode::SessionMissing);
    assert_eq!(bank.auth.me(&request).await.expect("an answer"), Some(login.user));
    assert_eq!(bank.refusals().await.len(), 3);
}

#[tokio::test]
async fn profile_changes_at_the_same_moment_are_numbered_without_a_gap() {
    let bank = Bank::open().await;
    let login = bank.customer(ADA).await;
    let request = bank.request(&login.tokens);
    let changes =
        join_all((0..10).map(|number| bank.auth.profile_update(&request, name(&format!("Ada {number}"))))).await;
    assert!(changes.iter().all(Result::is_ok));
    let sequences = bank.told_about(login.user.id).await.into_iter().map(|(_, sequence)| sequence);
    assert_eq!(sequences.collect::<Vec<_>>(), (1..=12).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_administrator_gives_a_role_and_it_counts_at_once() {
    let bank = Bank::open().await;
    let ada = bank.customer(ADA).await;
    let admin = bank.staff("root@bank.example", &[Role::Admin]).await;
    let request = bank.request(&admin.tokens);
    let user = bank.auth.role_assign(&request, ada.user.id, Role::Operator).await.expect("given");
    assert_eq!(user.roles, roles(&[Role::Customer, Role::Operator]));

    let actor = bank.verify(&ada.tokens).expect("the token from before");
    assert_eq!((actor.kind, actor.roles), (ActorKind::Staff, user.roles));
    let fresh = bank.login(ADA).await;
    assert_eq!(bank.verify(&fresh.tokens).expect("a valid token").roles, user.roles);

    let events = bank.database.outbox_events().await;
    let (envelope, data) =
        events.iter().find(|(envelope, _)| envelope.event_type.as_str() == "auth.role-assigned.v1").expect("told");
    assert_eq!(envelope.cause.actor_id, Some(admin.user.id));
    assert_eq!((envelope.aggregate_id, envelope.sequence), (ada.user.id, 3));
    assert_eq!(data["role"], "OPERATOR");
    assert_eq!(data["roles"], serde_json::json!(["CUSTOMER", "OPERATOR"]));

    let again = bank.auth.role_assign(&request, ada.user.id, Role::Operator).await.expect("nothing to do");
    assert_eq!(again.roles, user.roles);
    assert_eq!(bank.database.published("auth.role-assigned.v1").await.len(), 1);
}

#[tokio::test]
async fn other_instances_learn_about_a_role_when_they_look() {
    let bank = Bank::open().await;
    let ada = bank.customer(ADA).await;
    let admin = bank.staff("root@bank.example", &[Role::Admin]).await;
    let other = bank.another(config()).await;
    let token = ada.tokens.access_token.expose_secret();
    assert_eq!(other.verifier().verify(token).expect("valid").actor.kind, ActorKind::User);
    bank.auth.role_assign(&bank.request(&admin.tokens), ada.user.id, Role::Operator).await.expect("given");
    other.start().await.expect("looks");
    assert_eq!(other.verifier().verify(token).expect("valid").actor.kind, ActorKind::Staff);
}

#[tokio::test]
async fn nobody_else_gives_roles() {
    let bank = Bank::open().await;
    let ada = bank.customer(ADA).await;
    let operator = bank.staff("teller@bank.example", &[Role::Operator]).await;
    let officer = bank.staff("officer@bank.example", &[Role::ComplianceOfficer]).await;
    for context in
        [anonymous(), bank.request(&ada.tokens), bank.request(&operator.tokens), bank.request(&officer.tokens)]
    {
        let refused = code(bank.auth.role_assign(&context, ada.user.id, Role::Admin).await);
        assert_eq!(refused, AuthErrorCode::ScopeInsufficient);
    }
    assert_eq!(bank.database.published("auth.role-assigned.v1").await.len(), 0);
    let refusals = bank.refusals().await;
    assert_eq!(refusals.len(), 4);
    assert_eq!(refusals[0], ("roleAssign".into(), "AUTH_SCOPE_INSUFFICIENT".into(), Some(ada.user.id)));
}

#[tokio::test]
async fn a_role_cannot_be_given_to_nobody() {
    let bank = Bank::open().await;
    let admin = bank.staff("root@bank.example", &[Role::Admin]).await;
    let refused = bank.auth.role_assign(&bank.request(&admin.tokens), Uuid::now_v7(), Role::Operator).await;
    assert_eq!(code(refused), AuthErrorCode::UserNotFound);
}

#[tokio::test]
async fn roles_given_at_the_same_moment_are_all_there_and_told_in_order() {
    let bank = Bank::open().await;
    let ada = bank.register(ADA).await;
    let admin = bank.staff("root@bank.example", &[Role::Admin]).await;
    let request = bank.request(&admin.tokens);
    let wanted = [Role::Operator, Role::ComplianceOfficer, Role::Admin, Role::Operator];
    let given = join_all(wanted.map(|role| bank.auth.role_assign(&request, ada.id, role))).await;
    assert!(given.iter().all(Result::is_ok));
    let seen = bank.auth.users_by_id(&request, &[ada.id]).await.expect("an answer");
    assert_eq!(seen[0].roles, roles(&Role::ALL));
    let events = bank.database.published("auth.role-assigned.v1").await;
    let counts = events.iter().map(|event| event["roles"].as_array().expect("a list").len());
    assert_eq!(counts.collect::<Vec<_>>(), [2, 3, 4], "each event has the roles after it");
}

#[tokio::test]
async fn the_first_administrator_is_made_once() {
    let bank = Bank::open().await;
    let admin = || NewStaff::admin("Root@bank.example", PASSWORD.into(), "Root");
    let first = bank.auth.staff_ensure(&system(), admin()).await.expect("made");
    assert!(first.created);
    assert_eq!(first.user.roles, roles(&[Role::Admin]));
    let second = bank.auth.staff_ensure(&system(), admin()).await.expect("there already");
    assert!(!second.created);
    assert_eq!((second.user, second.given), (first.user.clone(), Roles::NONE));
    assert_eq!(bank.told_about(first.user.id).await, [("auth.user-registered.v1".into(), 1)]);
    let login = bank.login("root@bank.example").await;
    assert_eq!(bank.verify(&login.tokens).expect("a valid token").kind, ActorKind::Staff);
}

#[tokio::test]
async fn somebody_who_has_an_account_keeps_it_and_gets_the_roles_they_lack() {
    let bank = Bank::open().await;
    let ada = bank.register(ADA).await;
    let staff = NewStaff {
        roles: roles(&[Role::Operator, Role::ComplianceOfficer]),
        ..NewStaff::admin(ADA, "quartz mantle otter 52 kiln".into(), "Somebody Else")
    };
    let ensured = bank.auth.staff_ensure(&system(), staff.clone()).await.expect("ensured");
    assert!(!ensured.created);
    assert_eq!(ensured.given, staff.roles);
    assert_eq!(ensured.user.display_name, ada.display_name);
    bank.login(ADA).await;
    let told = bank.told_about(ada.id).await;
    let assigned =
        told.iter().filter(|(event_type, _)| event_type == "auth.role-assigned.v1").map(|(_, number)| *number);
    assert_eq!(assigned.collect::<Vec<_>>(), [2, 3]);
}

#[tokio::test]
async fn staff_made_at_the_same_moment_are_made_once() {
    let bank = Bank::open().await;
    let context = system();
    let made = join_all(
        (0..6).map(|_| bank.auth.staff_ensure(&context, NewStaff::admin("root@bank.example", PASSWORD.into(), "Root"))),
    )
    .await;
    let made = made.into_iter().map(|result| result.expect("ensured")).collect::<Vec<_>>();
    assert_eq!(made.iter().filter(|one| one.created).count(), 1);
    assert_eq!(bank.count("select count(*) from auth.user_account").await, 1);
}

#[tokio::test]
async fn staff_accounts_are_made_by_the_bank_itself_with_a_staff_role_and_a_good_password() {
    let bank = Bank::open().await;
    let admin = bank.staff("root@bank.example", &[Role::Admin]).await;
    let new = || NewStaff::admin("new@bank.example", PASSWORD.into(), "New");
    let by_admin = bank.auth.staff_ensure(&bank.request(&admin.tokens), new()).await;
    assert_eq!(code(by_admin), AuthErrorCode::ScopeInsufficient);
    let customer = NewStaff { roles: roles(&[Role::Customer]), ..new() };
    assert_eq!(code(bank.auth.staff_ensure(&system(), customer).await), AuthErrorCode::RoleInvalid);
    let weak = NewStaff { password: "admin1234567".into(), ..new() };
    assert_eq!(code(bank.auth.staff_ensure(&system(), weak).await), AuthErrorCode::PasswordBreached);
    assert_eq!(bank.count("select count(*) from auth.user_account").await, 1);
}

#[tokio::test]
async fn the_same_person_cannot_be_registered_over_a_staff_account() {
    let bank = Bank::open().await;
    bank.staff("root@bank.example", &[Role::Admin]).await;
    let refused = bank.auth.register(&anonymous(), registration("root@bank.example")).await;
    assert_eq!(code(refused), AuthErrorCode::EmailTaken);
}
