use std::fmt;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng, SeedableRng as _};
use tokio::process::Command;
use uuid::Uuid;
use vostro_messaging::crash;
use vostro_testkit::{Moment, Proxy};

use crate::support::people::PASSWORD;
use crate::support::{BankProcess, Person, Staff, World, eventually};

use super::blow::{Aim, Blow};
use super::cause::{self, Breakable};
use super::oracle;
use super::traffic::{Promises, Traffic, pay_poison};

/// This many seeds in a row deal every blow.
pub const TO_DEAL_ALL: u64 = 3;

/// What the bank gets under a seed: its part of a deck that is shuffled for it and its neighbours.
pub fn deal(seed: u64) -> Vec<Blow> {
    let mut deck = Blow::all();
    deck.shuffle(&mut StdRng::seed_from_u64(seed / TO_DEAL_ALL));
    let (first, step) = (seed % TO_DEAL_ALL, TO_DEAL_ALL);
    let nth = |number: u64| usize::try_from(number).expect("a small number");
    deck.into_iter().skip(nth(first)).step_by(nth(step)).collect()
}

/// What came of a seed.
pub struct Played {
    pub blows: usize,
    pub promises: usize,
    took: Duration,
    places: Vec<String>,
}

impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { promises, took, places, .. } = self;
        write!(f, "{promises} promises, {} s: {}", took.as_secs(), places.join(" "))
    }
}

/// Plays a seed: a bank, people who use it, one blow after the other, and at the end everything has to add up.
///
/// # Panics
/// When anything was lost or doubled, or a place was never passed.
pub async fn play(seed: u64) -> Played {
    let started = Instant::now();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut scene = Scene::set(seed).await;
    let traffic = Traffic::start(scene.world.config.http.address, &scene.staff, &scene.people, seed);
    let mut places = Vec::new();
    for blow in deal(seed) {
        places.push(scene.strike(blow, &mut rng).await);
    }
    let bank = scene.world.spawn_bank(&[]).await;
    traffic.progresses_by(20).await;
    let mut promises = traffic.finish().await;
    cause::redrive(&scene.world).await;
    promises.accepted.append(&mut scene.own.accepted);
    tokio::select! {
        never = cause::keep_discarding_garbage(&scene.world) => match never {},
        () = oracle::everything_adds_up(&scene.world, &promises, &scene.scheduled) => {}
    }
    assert!(bank.terminate().await.success(), "the bank stops when it is told to");
    Played { blows: places.len(), promises: promises.accepted.len(), took: started.elapsed(), places }
}

/// A world without a running bank, and people who have money in it.
struct Scene {
    world: World,
    proxy: Proxy,
    staff: Staff,
    people: Vec<Person>,
    /// What the scene itself was promised.
    own: Promises,
    scheduled: Vec<Uuid>,
    seed: u64,
}

impl Scene {
    const PEOPLE: usize = 4;
    /// Within which a place has to be passed.
    /// Shorter than that of [`BankProcess::ended`], which cannot say what was waited for.
    const PATIENCE: Duration = Duration::from_secs(110);

    async fn set(seed: u64) -> Self {
        let world = World::create().await;
        let proxy = Proxy::to(world.database_address()).await;
        let bank = world.spawn_bank(&[]).await;
        let staff = Staff::hire(&world).await;
        let mut people = Vec::new();
        for number in 0..Self::PEOPLE {
            people.push(Person::with_money(&world, &staff, &format!("person-{number}"), "200.00").await);
        }
        assert!(bank.terminate().await.success());
        Self { world, proxy, staff, people, own: Promises::default(), scheduled: Vec::new(), seed }
    }

    /// Starts the bank, has it struck, and says by what. No bank runs afterwards.
    async fn strike(&mut self, blow: Blow, rng: &mut StdRng) -> String {
        let started = Instant::now();
        let what = match blow {
            Blow::Commit(moment) => self.lose_a_commit(moment, rng.random_range(5..60)).await,
            Blow::Crash(place) => {
                let aim = Aim::at(place, &self.world, rng);
                self.crash(&aim).await;
                aim.variable()
            }
        };
        eprintln!("seed {:>6}  {what} after {:.1} s", self.seed, started.elapsed().as_secs_f32());
        what
    }

    async fn crash(&mut self, aim: &Aim) {
        match aim.place {
            crash::REBUILDING | crash::REBUILT | crash::ADOPTED => {
                self.crash_command(aim, &["projection", "rebuild", &aim.scope, "--reason", "a test"]).await;
            }
            crash::REPUBLISHING => {
                let republish = ["outbox", "republish", "--module", &aim.scope, "--from", "1", "--reason", "a test"];
                self.crash_command(aim, &republish).await;
            }
            crash::DECIDED => self.crash_a_decision(aim).await,
            crash::PARKED | crash::RETRIED | crash::RELEASED => self.crash_at_parking(aim).await,
            crash::DRAINED => {
                let mut bank = self.spawn(aim);
                cause::send_garbage(&self.world, &aim.scope).await;
                self.crashes(&mut bank, aim).await;
                let bank = self.world.spawn_bank(&[]).await;
                cause::discard_garbage(&self.world, &aim.scope).await;
                bank.kill();
            }
            crash::DUE => {
                let mut bank = self.spawn(aim);
                self.scheduled.push(cause::schedule(&self.world, &aim.scope).await);
                self.crashes(&mut bank, aim).await;
            }
            crash::PART_WRITTEN | crash::PART_COMMITTED => {
                let mut bank = self.spawn(aim);
                let month = if aim.place == crash::PART_WRITTEN { 1 } else { 2 };
                tokio::select! {
                    never = cause::keep_asking_for_a_statement(&self.people[0], aim.place.name(), month) => match never {},
                    () = self.crashes(&mut bank, aim) => {}
                }
            }
            _ => {
                let mut bank = self.spawn(aim);
                self.crashes(&mut bank, aim).await;
            }
        }
    }

    fn spawn(&self, aim: &Aim) -> BankProcess {
        self.world.spawn_bank_without_waiting(&[("VOSTRO_CRASH_AT", &aim.variable())])
    }

    async fn crashes(&self, bank: &mut BankProcess, aim: &Aim) {
        let ended = tokio::time::timeout(Self::PATIENCE, bank.ended()).await;
        let Ok(status) = ended else {
            panic!("seed {}: {} was not passed within {:?}", self.seed, aim.variable(), Self::PATIENCE)
        };
        assert_eq!(status.code(), None, "the bank ended by itself instead of crashing at {}", aim.variable());
    }

    /// The ledger (or who else) cannot handle a transfer, and parks it; the bank ends there, or when it can handle it again.
    async fn crash_at_parking(&mut self, aim: &Aim) {
        let breakable = Breakable::called(&aim.scope);
        // What an earlier blow cut off is taken for what is parked here, and is held for longer than anybody waits.
        cause::redrive(&self.world).await;
        breakable.break_down(&self.world).await;
        let mut bank = self.spawn(aim);
        let key = format!("poison-{}", self.own.accepted.len());
        let set_up = async {
            let id = pay_poison(&self.people[0], &self.people[1], &key).await;
            if aim.place != crash::PARKED {
                breakable.has_parked(&self.world).await;
            }
            id
        };
        // What earlier blows interrupted is parked as well, and the bank may have ended there.
        let id = tokio::select! {
            id = set_up => Some(id),
            () = until_ended(&mut bank) => None,
        };
        if aim.place != crash::PARKED && id.is_some() {
            breakable.mend(&self.world).await;
        }
        self.crashes(&mut bank, aim).await;
        let id = match id {
            Some(id) => id,
            None => {
                let bank = self.world.spawn_bank(&[]).await;
                let id = pay_poison(&self.people[0], &self.people[1], &key).await;
                breakable.has_parked(&self.world).await;
                bank.kill();
                id
            }
        };
        self.own.accepted.insert(key, id);
        breakable.mend(&self.world).await;
    }

    async fn pay_poison(&mut self) {
        let key = format!("poison-{}", self.own.accepted.len());
        let id = pay_poison(&self.people[0], &self.people[1], &key).await;
        self.own.accepted.insert(key, id);
    }

    /// An operator redrives what is parked, and the command ends in the middle of it; then again, while nothing ends.
    async fn crash_a_decision(&mut self, aim: &Aim) {
        let breakable = Breakable::in_module(&aim.scope);
        breakable.break_down(&self.world).await;
        let bank = self.world.spawn_bank(&[]).await;
        self.pay_poison().await;
        breakable.has_parked(&self.world).await;
        let redrive = ["parked", "redrive", "--subscription", breakable.group];
        self.crash_command_beside(&bank, aim, &redrive).await;
        breakable.mend(&self.world).await;
        bank.kill();
    }

    /// A command ends in the middle, beside a bank that works, and does its work when it is given again.
    async fn crash_command(&self, aim: &Aim, words: &[&str]) {
        let bank = self.world.spawn_bank(&[]).await;
        cause::redrive(&self.world).await;
        self.crash_command_beside(&bank, aim, words).await;
        bank.kill();
    }

    async fn crash_command_beside(&self, _bank: &BankProcess, aim: &Aim, words: &[&str]) {
        let run = async |variable: Option<String>| {
            let mut command = Command::from(self.world.command(words));
            command.args(["--operator", "operator@bank.example"]).env("VOSTRO_OPERATOR_PASSWORD", PASSWORD);
            if let Some(variable) = variable {
                command.env("VOSTRO_CRASH_AT", variable);
            }
            command.output().await.expect("the command can be started")
        };
        let crashed = run(Some(aim.variable())).await;
        assert_eq!(
            crashed.status.code(),
            None,
            "it was to end at {}: {}",
            aim.variable(),
            String::from_utf8_lossy(&crashed.stderr)
        );
        let again = run(None).await;
        assert!(again.status.success(), "{words:?} again: {}", String::from_utf8_lossy(&again.stderr));
    }

    /// The bank works over a connection that ends at a commit; then it is killed.
    async fn lose_a_commit(&self, moment: Moment, passing: usize) -> String {
        let url = self.world.database_url_through(self.proxy.address());
        let bank = self.world.spawn_bank(&[("VOSTRO__DATABASE__URL", &url)]).await;
        self.proxy.cut_at(b"COMMIT\0", passing, moment);
        eventually("a commit is lost", || async { self.proxy.has_cut().then_some(()) }).await;
        bank.kill();
        format!("commit:{moment:?}:{passing}")
    }
}

async fn until_ended(bank: &mut BankProcess) {
    while !bank.has_ended() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
