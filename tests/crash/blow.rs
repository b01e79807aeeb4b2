use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use vostro::app;
use vostro_messaging::crash::{self, Place, Scope};
use vostro_messaging::{InboxMode, Subscription};
use vostro_testkit::Moment;

use crate::support::World;

use super::cause::BREAKABLE;

/// What happens to the bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blow {
    /// The process ends at this place.
    Crash(Place),
    /// The connection to the database ends at a commit: what has become of it is unknown.
    Commit(Moment),
}

impl Blow {
    /// Every one there is.
    pub fn all() -> Vec<Self> {
        let crashes = crash::ALL.iter().copied().map(Self::Crash);
        crashes.chain([Moment::BeforeTheyArrive, Moment::BeforeTheAnswer].map(Self::Commit)).collect()
    }
}

/// A place, for whom, and at which passing: `VOSTRO_CRASH_AT`.
#[derive(Debug)]
pub struct Aim {
    pub place: Place,
    pub scope: String,
    pub passing: u32,
}

impl Aim {
    /// At a random one of those this place is passed for.
    pub fn at(place: Place, world: &World, rng: &mut StdRng) -> Self {
        let scope = scopes(place, world).choose(rng).expect("every place is passed for something").clone();
        let passing = if caused_once(place) { 1 } else { rng.random_range(1..=8) };
        Self { place, scope, passing }
    }

    pub fn variable(&self) -> String {
        format!("{}@{}:{}", self.place.name(), self.scope, self.passing)
    }
}

fn scopes(place: Place, world: &World) -> Vec<String> {
    let subscriptions = || app::manifests().into_iter().flat_map(|manifest| manifest.subscribes);
    // The terms of statements end after years: nobody here hears of one.
    let heard = |subscription: &Subscription| subscription.group() != "account.statement-terms";
    let groups =
        |of: fn(&Subscription) -> bool| subscriptions().filter(heard).filter(of).map(|of| of.group()).collect();
    match (place, place.scope()) {
        (crash::PARKED | crash::RETRIED | crash::RELEASED, _) => {
            BREAKABLE.iter().map(|breakable| breakable.group.to_owned()).collect()
        }
        (crash::DECIDED, _) => BREAKABLE.iter().map(|breakable| breakable.module().to_owned()).collect(),
        (crash::DUE, _) => app::manifests().iter().map(|manifest| manifest.module.to_owned()).collect(),
        // Compliance speaks of violations and refusals only, and nobody here does anything wrong.
        (_, Scope::Module) => {
            let modules = app::manifests().into_iter().map(|manifest| manifest.module.to_owned());
            modules.filter(|module| module != "compliance").collect()
        }
        (_, Scope::Subscription) => groups(|_| true),
        (_, Scope::InboxRows) => groups(|subscription| subscription.inbox == InboxMode::Rows),
        (_, Scope::Job) => vec!["account.statements".to_owned()],
        (_, Scope::Projection) => {
            let known = app::projections(&world.config).expect("the modules can be built");
            known.iter().map(app::KnownProjection::name).collect()
        }
    }
}

/// Whether the place is passed because of what [`super::cause`] does, and not again and again in the traffic.
fn caused_once(place: Place) -> bool {
    [
        crash::PARKED,
        crash::RETRIED,
        crash::RELEASED,
        crash::DECIDED,
        crash::DRAINED,
        crash::DUE,
        crash::PART_WRITTEN,
        crash::PART_COMMITTED,
        crash::REPUBLISHING,
        crash::REBUILDING,
        crash::REBUILT,
        crash::ADOPTED,
    ]
    .contains(&place)
}
