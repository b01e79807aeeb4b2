//! Two instances of the module that keep what they read, on one database.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vostro_account::domain::{Account, InternalRole};
use vostro_account::{Accounts, Config};
use vostro_events::account::AccountStatus;
use vostro_kernel::{Actor, Money, RequestContext, Role, SystemIds};
use vostro_messaging::{Caching, Entity as _, Foundation, Incoming, Module as _};
use vostro_testkit::{deliver, eventually};

use crate::fixture::{Bank, customer, internal, operator, person, transfer};

/// So long that whatever is seen to have changed was told.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

struct Instance {
    accounts: Accounts,
    stop: CancellationToken,
    work: JoinSet<()>,
}

impl Instance {
    /// Beside the bank's own, on its database.
    fn start(bank: &Bank) -> Self {
        let caching = Caching { entities: 1_000, time_to_live: FOR_EVER, ..Caching::OFF };
        let foundation = Foundation { caching, ..bank.database.foundation() };
        let accounts = Accounts::new(foundation, Config::default()).expect("a valid configuration");
        let stop = CancellationToken::new();
        let work = accounts.background(stop.clone()).into_iter().collect();
        Self { accounts, stop, work }
    }

    /// Two that keep what they read, and hear each other.
    async fn two(bank: &Bank) -> [Self; 2] {
        let both = [Self::start(bank), Self::start(bank)];
        let account = bank.account_with(0).await;
        for instance in &both {
            instance.keeps(bank, account.id).await;
        }
        both
    }

    /// Waits until a name that was changed behind its back is not seen.
    async fn keeps(&self, bank: &Bank, account: Uuid) {
        eventually("an instance keeps what it reads", async || {
            let before = self.see(account).await;
            let rename = "update account.account set name = gen_random_uuid()::text";
            bank.database.tamper(&format!("{rename} where id = '{account}'")).await;
            (self.see(account).await.name == before.name).then_some(())
        })
        .await;
    }

    async fn see(&self, id: Uuid) -> Arc<Account> {
        self.seen_by(&RequestContext::system(&SystemIds), id).await.expect("the account exists")
    }

    async fn seen_by(&self, context: &RequestContext, id: Uuid) -> Option<Arc<Account>> {
        self.accounts.accounts_by_id(context, &[id]).await.expect("readable").pop()
    }

    async fn post(&self, bank: &Bank, batch: &[Incoming]) {
        let handlers = self.accounts.handlers();
        let postings = handlers.into_iter().find(|bound| bound.subscription.name == "postings").expect("bound");
        deliver(bank.database.pool(), &postings.handler, batch).await.expect("posted");
    }

    async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.work.join_next().await {
            ended.expect("ended well");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_instance_changes_is_seen_there_at_once_and_by_the_other_when_it_was_told() {
    let bank = Bank::open().await;
    let [here, there] = Instance::two(&bank).await;
    let account = bank.account_with(1_000).await;
    let owner = customer(account.owner_id.expect("an owner"));
    for instance in [&here, &there] {
        assert_eq!(instance.see(account.id).await.balance.posted, 1_000);
    }
    here.post(&bank, &[transfer(account.id, internal(InternalRole::Cash), 300)]).await;
    assert_eq!(here.see(account.id).await.balance.posted, 700, "whoever wrote reads what was written");
    let told = async || (there.see(account.id).await.balance.posted == 700).then_some(());
    eventually("the other instance sees the payment", told).await;

    there.accounts.freeze(&operator(), account.id, "a court order").await.expect("frozen");
    assert_eq!(there.seen_by(&owner, account.id).await.map(|seen| seen.status), Some(AccountStatus::Frozen));
    let told = async || (here.see(account.id).await.status == AccountStatus::Frozen).then_some(());
    eventually("the other instance sees the freeze", told).await;
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_see_what_is_kept_is_decided_with_each_read() {
    let bank = Bank::open().await;
    let instance = Instance::start(&bank);
    let account = bank.account_with(0).await;
    instance.keeps(&bank, account.id).await;
    let owner = account.owner_id.expect("an owner");
    let somebody = Uuid::now_v7();
    let nobody = RequestContext::of(Actor::ANONYMOUS, &SystemIds);
    let readers = [
        ("the owner", customer(owner), true),
        ("somebody who works for the bank", person(somebody, &[Role::Operator]), true),
        ("the same, who does not any more", customer(somebody), false),
        ("nobody", nobody, false),
        ("the owner again", customer(owner), true),
    ];
    for (who, context, may_see) in readers {
        assert_eq!(instance.seen_by(&context, account.id).await.is_some(), may_see, "{who}");
    }
    let other = bank.account_with(0).await;
    assert!(instance.seen_by(&customer(owner), other.id).await.is_none());
    assert!(instance.seen_by(&customer(other.owner_id.expect("an owner")), other.id).await.is_some());
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_of_two_instances_never_see_an_account_go_back_while_both_change_it() {
    const ROUNDS: usize = 40;
    let bank = Arc::new(Bank::open().await);
    let both = Arc::new(Instance::two(&bank).await);
    let mut accounts = Vec::new();
    for _ in 0..3 {
        accounts.push(bank.account_with(10_000).await.id);
    }
    let over = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for reader in 0..4 {
        let (both, accounts, over) = (Arc::clone(&both), accounts.clone(), Arc::clone(&over));
        readers.spawn(async move {
            let (mut newest, mut reads) = (HashMap::new(), 0_u64);
            while !over.load(Ordering::SeqCst) {
                for id in &accounts {
                    let seen = both[reader % 2].see(*id).await;
                    let before = newest.insert(*id, seen.edition()).unwrap_or_default();
                    assert!(seen.edition() >= before, "{} after {before}", seen.edition());
                    reads += 1;
                }
                tokio::task::yield_now().await;
            }
            reads
        });
    }
    // One instance books, the other agrees on overdrafts; each reads what it wrote.
    let booking = async {
        for _ in 0..ROUNDS {
            let before = both[0].see(accounts[0]).await.balance.sequence;
            both[0].post(&bank, &[transfer(accounts[0], accounts[1], 1), transfer(accounts[1], accounts[2], 1)]).await;
            assert!(both[0].see(accounts[0]).await.balance.sequence > before);
        }
    };
    let arranging = async {
        for round in 0..ROUNDS {
            let limit = Money::new(i64::try_from(round).expect("small") + 1, "EUR".parse().expect("a currency"));
            both[1].accounts.overdraft_arrange(&operator(), accounts[1], limit).await.expect("arranged");
            assert_eq!(both[1].see(accounts[1]).await.balance.overdraft_limit, limit.minor);
        }
    };
    futures::join!(booking, arranging);
    for id in &accounts {
        let last = bank.see(*id).await;
        for instance in both.iter() {
            let told = async || (instance.see(*id).await.edition() == last.edition()).then_some(());
            eventually("both instances see the last change", told).await;
        }
    }
    over.store(true, Ordering::SeqCst);
    while let Some(reads) = readers.join_next().await {
        assert!(reads.expect("no reader saw it go back") > 0);
    }
    both.iter().for_each(|instance| instance.stop.cancel());
}
