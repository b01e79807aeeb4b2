use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error, PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::AuthError;
use crate::domain::{Password, Weakness};

/// Hashes and checks passwords, as many at a time as the machine has cores, so that logging in never starves the rest
/// of the bank of processors or memory.
#[derive(Clone)]
pub(crate) struct Passwords {
    params: Params,
    cores: Arc<Semaphore>,
    /// Who may wait for a core. Beyond that it is better to say no at once.
    queue: Arc<Semaphore>,
    /// Checked when there is nobody to check: the answer takes as long as for somebody.
    decoy: Arc<str>,
}

/// A place in the queue.
pub(crate) struct Place(OwnedSemaphorePermit);

/// What checking a password told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Wrong,
    Right {
        /// The stored hash was made with other parameters than the configured ones.
        outdated: bool,
    },
}

impl Passwords {
    /// How many may wait per core; at a quarter of a second per hash the last one waits a quarter of a minute.
    const QUEUE_PER_CORE: usize = 64;

    /// Costs one hash.
    ///
    /// # Errors
    /// [`AuthError::Crypto`] for parameters Argon2 does not take.
    pub(crate) fn new(memory_kib: u32, iterations: u32) -> Result<Self, AuthError> {
        let params = Params::new(memory_kib, iterations, 1, None)
            .map_err(|_| AuthError::Crypto("these are no Argon2 parameters"))?;
        let decoy = hash(&params, b"nobody has this password")?.into();
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        Ok(Self {
            params,
            cores: Arc::new(Semaphore::new(cores)),
            queue: Arc::new(Semaphore::new(cores * Self::QUEUE_PER_CORE)),
            decoy,
        })
    }

    /// Hashes a password somebody wants to choose, if they may.
    ///
    /// # Errors
    /// [`AuthError::Refused`] with the weakness, [`AuthError::Overloaded`], [`AuthError::Crypto`].
    pub(crate) async fn admit(&self, password: Password, personal: Vec<String>) -> Result<String, AuthError> {
        let params = self.params.clone();
        self.compute(self.queue_up()?, move || {
            let personal = personal.iter().map(String::as_str).collect::<Vec<_>>();
            password.judge(&personal).map_err(|weakness: Weakness| AuthError::Refused(weakness.into()))?;
            hash(&params, password.as_bytes())
        })
        .await
    }

    /// Hashes a password that was admitted before, with the parameters of today.
    ///
    /// # Errors
    /// [`AuthError::Overloaded`], [`AuthError::Crypto`].
    pub(crate) async fn rehash(&self, password: Password) -> Result<String, AuthError> {
        let params = self.params.clone();
        self.compute(self.queue_up()?, move || hash(&params, password.as_bytes())).await
    }

    /// Takes a place in the queue, for a check that must not be given up later for lack of one.
    ///
    /// # Errors
    /// [`AuthError::Overloaded`].
    pub(crate) fn queue_up(&self) -> Result<Place, AuthError> {
        Arc::clone(&self.queue).try_acquire_owned().map(Place).map_err(|_| AuthError::Overloaded)
    }

    /// Compares a password with a stored hash. Without either of the two it does the same work and says it is wrong.
    ///
    /// # Errors
    /// [`AuthError::Crypto`] when the stored hash is unreadable.
    pub(crate) async fn check(
        &self,
        place: Place,
        password: Option<Password>,
        phc: Option<String>,
    ) -> Result<Verdict, AuthError> {
        let (params, decoy) = (self.params.clone(), Arc::clone(&self.decoy));
        self.compute(place, move || {
            let known = password.is_some() && phc.is_some();
            let password = password.as_ref().map_or(b"no password at all".as_slice(), Password::as_bytes);
            let stored = PasswordHash::new(phc.as_deref().unwrap_or(&decoy))
                .map_err(|_| AuthError::Crypto("a stored password hash is unreadable"))?;
            match argon2(&params).verify_password(password, &stored) {
                Ok(()) if known => Ok(Verdict::Right { outdated: is_outdated(&params, &stored) }),
                Ok(()) | Err(Error::PasswordInvalid) => Ok(Verdict::Wrong),
                Err(_) => Err(AuthError::Crypto("a password cannot be checked")),
            }
        })
        .await
    }

    /// Runs a computation on a thread of its own once a core is free for it.
    async fn compute<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce() -> Result<T, AuthError> + Send + 'static,
    ) -> Result<T, AuthError> {
        let core: OwnedSemaphorePermit =
            Arc::clone(&self.cores).acquire_owned().await.map_err(|_| AuthError::Overloaded)?;
        drop(place.0);
        // The permit travels with the work: when the caller gives up, the core is busy until the work is done.
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop(core);
            result
        })
        .await
        .map_err(|_| AuthError::Crypto("hashing ended early"))?
    }
}

fn argon2(params: &Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
}

fn hash(params: &Params, password: &[u8]) -> Result<String, AuthError> {
    let hash = argon2(params).hash_password(password).map_err(|_| AuthError::Crypto("a password cannot be hashed"))?;
    Ok(hash.to_string())
}

fn is_outdated(params: &Params, stored: &PasswordHash) -> bool {
    let current = Params::try_from(stored).is_ok_and(|used| {
        used.m_cost() == params.m_cost() && used.t_cost() == params.t_cost() && used.p_cost() == params.p_cost()
    });
    !current || stored.algorithm.as_str() != Algorithm::Argon2id.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::normalise(&text.into()).expect("not too long")
    }

    fn passwords(memory_kib: u32) -> Passwords {
        Passwords::new(memory_kib, 1).expect("Argon2 parameters")
    }

    async fn check(
        passwords: &Passwords,
        password: Option<Password>,
        phc: Option<String>,
    ) -> Result<Verdict, AuthError> {
        passwords.check(passwords.queue_up()?, password, phc).await
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_in_phc_form_and_salted() {
        let passwords = passwords(64);
        let phc = passwords.admit(password("umber gantry folio tern"), vec![]).await.expect("a good password");
        assert!(phc.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{phc}");
        assert_ne!(passwords.rehash(password("umber gantry folio tern")).await.expect("hashes"), phc);
    }

    #[tokio::test]
    async fn the_right_password_is_told_from_every_other() {
        let passwords = passwords(64);
        let phc = passwords.rehash(password("umber gantry folio tern")).await.expect("hashes");
        let check = async |text| {
            passwords
                .check(passwords.queue_up().expect("a place"), Some(password(text)), Some(phc.clone()))
                .await
                .expect("checks")
        };
        assert_eq!(check("umber gantry folio tern").await, Verdict::Right { outdated: false });
        assert_eq!(check("Umber gantry folio tern").await, Verdict::Wrong);
        assert_eq!(check("").await, Verdict::Wrong);
    }

    #[tokio::test]
    async fn without_a_user_or_a_password_the_answer_is_wrong() {
        let passwords = passwords(64);
        let phc = passwords.rehash(password("umber gantry folio tern")).await.expect("hashes");
        assert_eq!(check(&passwords, None, Some(phc)).await.expect("checks"), Verdict::Wrong);
        let decoyed = passwords
            .check(passwords.queue_up().expect("a place"), Some(password("nobody has this password")), None)
            .await
            .expect("checks");
        assert_eq!(decoyed, Verdict::Wrong, "knowing the decoy opens nothing");
    }

    #[tokio::test]
    async fn a_hash_with_other_parameters_is_right_and_outdated() {
        let phc = passwords(64).rehash(password("umber gantry folio tern")).await.expect("hashes");
        let verdict =
            check(&passwords(128), Some(password("umber gantry folio tern")), Some(phc)).await.expect("checks");
        assert_eq!(verdict, Verdict::Right { outdated: true });
    }

    #[tokio::test]
    async fn a_stored_hash_nobody_can_read_is_a_fault_and_no_refusal() {
        let error = check(&passwords(64), Some(password("x")), Some("$argon2id$nonsense".into())).await;
        assert!(matches!(error, Err(AuthError::Crypto(_))), "{error:?}");
    }

    #[tokio::test]
    async fn beyond_the_queue_the_answer_is_no_at_once() {
        let passwords = passwords(64);
        let _all = passwords
            .queue
            .clone()
            .acquire_many_owned(u32::try_from(passwords.queue.available_permits()).expect("a small number"))
            .await
            .expect("open");
        assert!(matches!(passwords.rehash(password("x")).await, Err(AuthError::Overloaded)));
    }
}
