//! Two instances of the module that keep whom they have read, on one database.

mod common;

use std::time::Duration;

use common::{Bank, config, system};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_auth::{Auth, ProfileChange, User};
use vostro_kernel::{Actor, RequestContext, Role, SystemIds};
use vostro_messaging::{Caching, Foundation, Module as _};
use vostro_testkit::eventually;

/// So long that whatever is seen to have changed was told.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

struct Instance {
    auth: Auth,
    stop: CancellationToken,
    work: JoinSet<()>,
}

impl Instance {
    /// Beside the bank's own, on its database.
    async fn start(bank: &Bank) -> Self {
        let caching = Caching { entities: 1_000, time_to_live: FOR_EVER, ..Caching::OFF };
        let foundation = Foundation { caching, ..bank.database.foundation_at(bank.clock.clone()) };
        let auth = Auth::new(foundation, config()).expect("a valid configuration");
        auth.start().await.expect("starts");
        let stop = CancellationToken::new();
        let work = auth.background(stop.clone()).into_iter().collect();
        Self { auth, stop, work }
    }

    /// Two that keep what they read, and hear each other.
    async fn two(bank: &Bank) -> [Self; 2] {
        let both = [Self::start(bank).await, Self::start(bank).await];
        let user = bank.register("somebody@example.org").await;
        for instance in &both {
            instance.keeps(bank, user.id).await;
        }
        both
    }

    /// Waits until a language that was changed behind its back is not seen.
    async fn keeps(&self, bank: &Bank, user: Uuid) {
        eventually("an instance keeps what it reads", async || {
            let before = self.see(user).await;
            let change = "update auth.user_account set locale = 'en-' || left(md5(random()::text), 8)";
            bank.database.tamper(&format!("{change} where id = '{user}'")).await;
            (self.see(user).await.locale == before.locale).then_some(())
        })
        .await;
    }

    async fn see(&self, id: Uuid) -> User {
        self.seen_by(&of_the_bank(), id).await.expect("the person exists")
    }

    async fn seen_by(&self, context: &RequestContext, id: Uuid) -> Option<User> {
        self.auth.users_by_id(context, &[id]).await.expect("readable").pop()
    }

    async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.work.join_next().await {
            ended.expect("ended well");
        }
    }
}

fn person(id: Uuid, role: Role) -> RequestContext {
    RequestContext::of(Actor::person(id, [role].into_iter().collect(), None), &SystemIds)
}

fn of_the_bank() -> RequestContext {
    person(Uuid::now_v7(), Role::Admin)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_profile_is_seen_there_at_once_and_at_the_other_instance_when_it_was_told() {
    let bank = Bank::open().await;
    let [here, there] = Instance::two(&bank).await;
    let ada = bank.register("ada@example.org").await;
    for instance in [&here, &there] {
        assert_eq!(instance.see(ada.id).await, ada);
    }
    let change = ProfileChange { display_name: Some("Ada King".to_owned()), locale: None };
    let changed = here.auth.profile_update(&person(ada.id, Role::Customer), change).await.expect("changed");
    assert_eq!(here.see(ada.id).await, changed, "whoever wrote reads what was written");
    let told = async || (there.see(ada.id).await == changed).then_some(());
    eventually("the other instance sees the new name", told).await;
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_was_given_is_seen_there_at_once_and_at_the_other_instance_when_it_was_told() {
    let bank = Bank::open().await;
    let [here, there] = Instance::two(&bank).await;
    let ada = bank.register("ada@example.org").await;
    for instance in [&here, &there] {
        assert!(!instance.see(ada.id).await.roles.contains(Role::Operator));
    }
    here.auth.role_assign(&of_the_bank(), ada.id, Role::Operator).await.expect("given");
    assert!(here.see(ada.id).await.roles.contains(Role::Operator));
    let told = async || there.see(ada.id).await.roles.contains(Role::Operator).then_some(());
    eventually("the other instance sees the role", told).await;
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_see_a_person_that_is_kept_is_decided_with_each_read() {
    let bank = Bank::open().await;
    let instance = Instance::start(&bank).await;
    let ada = bank.register("ada@example.org").await;
    instance.keeps(&bank, ada.id).await;
    let somebody = Uuid::now_v7();
    let readers = [
        ("the person", person(ada.id, Role::Customer), true),
        ("somebody who works for the bank", person(somebody, Role::Operator), true),
        ("the same, who does not any more", person(somebody, Role::Customer), false),
        ("nobody", RequestContext::of(Actor::ANONYMOUS, &SystemIds), false),
        ("the bank itself, which has no role", system(), false),
        ("the person again", person(ada.id, Role::Customer), true),
    ];
    for (who, context, may_see) in readers {
        assert_eq!(instance.seen_by(&context, ada.id).await.is_some(), may_see, "{who}");
    }
    instance.stop().await;
}
