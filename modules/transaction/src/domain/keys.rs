//! Idempotency inside a group of commands that share a commit.
//!
//! The database decides which keys are new, by its unique index, when the group's rows are inserted. These functions say
//! which rows to insert, which keys to ask about afterwards, and what becomes of each command; the result is the same as
//! if the commands had been carried out one after the other.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

/// An idempotency key and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyScope<'a> {
    pub initiator: Uuid,
    pub key: &'a str,
}

/// What one command of a group says about its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// `None` when the command was refused before its key counted.
    pub scope: Option<KeyScope<'a>>,
    pub fingerprint: [u8; 32],
    /// Whether the command would be accepted if its key is new.
    pub acceptable: bool,
}

/// The command that used a key first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// Of the same group, by position.
    InGroup(usize),
    /// Of an earlier group or another instance: its row is stored.
    Stored,
}

/// What becomes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its row was inserted.
    Accepted,
    /// It broke a rule; its key stays free.
    Refused,
    /// The same command was accepted before.
    Replayed(Earlier),
    /// Another command was accepted under the key before.
    Reused(Earlier),
    /// Its row met a stored one that cannot be found: to be tried again.
    Lost,
}

/// Which commands to insert: for each key the first acceptable one.
pub fn first_accepted(claims: &[Claim<'_>]) -> Vec<usize> {
    let mut seen = HashSet::with_capacity(claims.len());
    let acceptable = claims.iter().enumerate().filter(|(_, claim)| claim.acceptable);
    acceptable.filter(|(_, claim)| claim.scope.is_some_and(|scope| seen.insert(scope))).map(|(at, _)| at).collect()
}

/// The keys whose stored rows decide about a command: those of commands that were not inserted and have no inserted
/// command of the same key beside them. Empty when every command of the group is new and good.
pub fn needs_lookup<'a>(claims: &[Claim<'a>], inserted: &HashSet<usize>) -> HashSet<KeyScope<'a>> {
    if inserted.len() == claims.len() {
        return HashSet::new();
    }
    let decided = winners(claims, inserted);
    claims.iter().filter_map(|claim| claim.scope).filter(|scope| !decided.contains_key(scope)).collect()
}

/// What becomes of each command, in order. `stored` answers with the fingerprint of the row that holds a key.
pub fn verdicts<'a>(
    claims: &[Claim<'a>],
    inserted: &HashSet<usize>,
    stored: impl Fn(KeyScope<'a>) -> Option<[u8; 32]>,
) -> Vec<Verdict> {
    if inserted.len() == claims.len() {
        return vec![Verdict::Accepted; claims.len()];
    }
    let winners = winners(claims, inserted);
    let verdict = |(at, claim): (usize, &Claim<'a>)| {
        let Some(scope) = claim.scope else { return Verdict::Refused };
        let compare = |fingerprint: &[u8; 32], earlier| {
            if *fingerprint == claim.fingerprint { Verdict::Replayed(earlier) } else { Verdict::Reused(earlier) }
        };
        match winners.get(&scope) {
            Some(winner) if at == *winner => Verdict::Accepted,
            // It came before the key was used, and could not use it itself.
            Some(winner) if at < *winner => Verdict::Refused,
            Some(winner) => compare(&claims[*winner].fingerprint, Earlier::InGroup(*winner)),
            None => match stored(scope) {
                Some(fingerprint) => compare(&fingerprint, Earlier::Stored),
                None if claim.acceptable => Verdict::Lost,
                None => Verdict::Refused,
            },
        }
    };
    claims.iter().enumerate().map(verdict).collect()
}

fn winners<'a>(claims: &[Claim<'a>], inserted: &HashSet<usize>) -> HashMap<KeyScope<'a>, usize> {
    inserted.iter().filter_map(|at| Some((claims.get(*at)?.scope?, *at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEYS: [&str; 4] = ["a", "b", "c", "d"];

    #[derive(Debug, Clone)]
    struct Asked {
        key: Option<usize>,
        initiator: u128,
        body: u8,
        acceptable: bool,
    }

    fn asked() -> impl Strategy<Value = Asked> {
        (proptest::option::weighted(0.9, 0..KEYS.len()), 0..2_u128, 0..2_u8, proptest::bool::weighted(0.7))
            .prop_map(|(key, initiator, body, acceptable)| Asked { key, initiator, body, acceptable })
    }

    fn claim(asked: &Asked) -> Claim<'static> {
        let scope = asked.key.map(|key| KeyScope { initiator: Uuid::from_u128(asked.initiator), key: KEYS[key] });
        Claim { scope, fingerprint: [asked.body; 32], acceptable: asked.acceptable && scope.is_some() }
    }

    type Store = HashMap<KeyScope<'static>, (usize, [u8; 32])>;

    #[derive(Debug, PartialEq)]
    enum Answer {
        New,
        Refused,
        /// The same transaction as the command with this number was given.
        SameAs(usize),
        Reused,
    }

    /// One command after the other: the definition of what a group must amount to.
    fn one_by_one(commands: &[Claim<'static>]) -> Vec<Answer> {
        let mut store = Store::new();
        let answer = |(number, claim): (usize, &Claim<'static>)| match claim.scope {
            None => Answer::Refused,
            Some(scope) => match store.get(&scope) {
                Some((first, fingerprint)) if *fingerprint == claim.fingerprint => Answer::SameAs(*first),
                Some(_) => Answer::Reused,
                None if claim.acceptable => {
                    store.insert(scope, (number, claim.fingerprint));
                    Answer::New
                }
                None => Answer::Refused,
            },
        };
        commands.iter().enumerate().map(answer).collect()
    }

    /// The same commands in groups, with the store's unique index as the only judge of what is new.
    fn in_groups(commands: &[Claim<'static>], sizes: &[usize]) -> Vec<Answer> {
        let (mut store, mut answers, mut sizes) = (Store::new(), Vec::new(), sizes.iter().cycle());
        while answers.len() < commands.len() {
            let begin = answers.len();
            let size = *sizes.next().expect("endless");
            let group = &commands[begin..commands.len().min(begin + size)];
            let mut inserted = HashSet::new();
            for at in first_accepted(group) {
                let scope = group[at].scope.expect("an accepted command has a key");
                if let std::collections::hash_map::Entry::Vacant(free) = store.entry(scope) {
                    free.insert((begin + at, group[at].fingerprint));
                    inserted.insert(at);
                }
            }
            let asked = needs_lookup(group, &inserted);
            let stored = |scope| {
                assert!(asked.contains(&scope), "a key is used that nobody asked about");
                store.get(&scope).map(|(_, fingerprint)| *fingerprint)
            };
            for (at, verdict) in verdicts(group, &inserted, stored).into_iter().enumerate() {
                answers.push(match verdict {
                    Verdict::Accepted => Answer::New,
                    Verdict::Refused => Answer::Refused,
                    Verdict::Replayed(Earlier::InGroup(first)) => Answer::SameAs(begin + first),
                    Verdict::Replayed(Earlier::Stored) => {
                        Answer::SameAs(store[&group[at].scope.expect("a replay has a key")].0)
                    }
                    Verdict::Reused(_) => Answer::Reused,
                    Verdict::Lost => panic!("nothing is deleted here"),
                });
            }
        }
        answers
    }

    proptest! {
        #[test]
        fn groups_answer_like_one_command_after_the_other(
            commands in proptest::collection::vec(asked(), 1..40),
            sizes in proptest::collection::vec(1..12_usize, 1..6),
        ) {
            let claims = commands.iter().map(claim).collect::<Vec<_>>();
            prop_assert_eq!(in_groups(&claims, &sizes), one_by_one(&claims));
        }
    }

    #[test]
    fn a_group_of_new_commands_asks_about_no_key() {
        let claims = [0, 1].map(|key| claim(&Asked { key: Some(key), initiator: 0, body: 0, acceptable: true }));
        let inserted = HashSet::from([0, 1]);
        assert_eq!(first_accepted(&claims), [0, 1]);
        assert!(needs_lookup(&claims, &inserted).is_empty());
        assert_eq!(verdicts(&claims, &inserted, |_| None), [Verdict::Accepted; 2]);
    }

    #[test]
    fn a_row_that_conflicts_and_cannot_be_found_is_tried_again() {
        let claims = [claim(&Asked { key: Some(0), initiator: 0, body: 0, acceptable: true })];
        assert_eq!(verdicts(&claims, &HashSet::new(), |_| None), [Verdict::Lost]);
    }
}
