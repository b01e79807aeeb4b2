//! SQL of the schema `auth`.

mod idempotency;
mod news;
mod session;
mod signing_key;
mod sweep;
mod throttle;
mod user;

pub(crate) use idempotency::{claim_in_tx, find_claim};
pub(crate) use news::{changed_roles, revoked_sessions};
pub(crate) use session::{
    NewRefreshToken, NewSession, exchange_in_tx, insert_refresh_token_in_tx, insert_session_in_tx, inspect,
    revoke_in_tx,
};
pub(crate) use signing_key::{
    StoredKey, delete_obsolete_in_tx, insert_key_in_tx, lock_keys_in_tx, promote_next_in_tx, retire_active_in_tx,
    signing_keys,
};
pub(crate) use sweep::sweep;
pub(crate) use throttle::{Attempt, count_attempt, forget_failures};
pub(crate) use user::{
    NewUser, UserRow, assign_roles_in_tx, credential, insert_user_in_tx, lock_user_in_tx, next_sequence_in_tx,
    password_hash, replace_password_in_tx, update_profile_in_tx, user_by_email, users,
};
