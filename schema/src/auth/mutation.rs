use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use vostro_auth::{AuthError, AuthErrorCode as Code, LoggedIn, ProfileChange, Registration};
use vostro_kernel::Role as KernelRole;

use super::types::{Role, Tokens, User};
use super::{facade, failure};
use crate::access::{Access, anyone, only, signed_in};
use crate::faults::{forbidden, unauthenticated};
use crate::guards;
use crate::ids::{self, IdKind};
use crate::scalars::IdempotencyKey;

crate::user_errors! {
    /// Why a command on people or sessions was refused.
    pub AuthUserError, AuthErrorCode {
        /// The e-mail address or the password is wrong.
        ///
        /// Correct them. Repeated failures lock the login for a while.
        AuthInvalidCredentials,
        /// Too many failed logins.
        ///
        /// Wait a while, then log in with the right password.
        AuthLocked,
        /// This is not an e-mail address the bank can write to.
        ///
        /// Correct the address.
        AuthEmailInvalid,
        /// There is already a user with this e-mail address.
        ///
        /// Log in, or register another address.
        AuthEmailTaken,
        /// The password is too short, too long or too easy to guess.
        ///
        /// Choose a longer one, or one with less of a pattern.
        AuthPasswordWeak,
        /// The password is on a list of passwords that attackers try first.
        ///
        /// Choose another one.
        AuthPasswordBreached,
        /// The display name is empty, too long, or has characters nobody can see.
        ///
        /// Give 1 to 100 visible characters.
        AuthDisplayNameInvalid,
        /// The locale is no BCP 47 language tag.
        ///
        /// Give one such as `en` or `pt-BR`.
        AuthLocaleInvalid,
        /// No refresh token of this bank, or its session has ended.
        ///
        /// Log in again.
        AuthTokenInvalid,
        /// The refresh token has expired.
        ///
        /// Log in again.
        AuthTokenExpired,
        /// The refresh token was used before; its session was ended, since somebody else may have it.
        ///
        /// Log in again, and keep only the newest token.
        AuthTokenReused,
        /// There is no session. The caller sees the top-level error `UNAUTHENTICATED`, the audit log this.
        ///
        /// Log in.
        AuthSessionMissing,
        /// Your roles do not allow the command. The caller sees the top-level error `FORBIDDEN`, the audit log this.
        ///
        /// Have an administrator assign the role, or leave it to somebody who has it.
        AuthScopeInsufficient,
        /// No user with this id.
        ///
        /// Correct the id.
        AuthUserNotFound,
        /// Staff need a staff role. For the command line.
        ///
        /// Name at least one of COMPLIANCE_OFFICER, OPERATOR and ADMIN.
        AuthRoleInvalid,
        /// The next signing key is too new. For the command line.
        ///
        /// Repeat it later: whoever keeps the key set for ten minutes has to have seen it first.
        AuthKeyNotPublishedLongEnough,
        /// The idempotency key is missing or malformed.
        ///
        /// Make a key of 1 to 128 visible ASCII characters for each command, and repeat it under the same one.
        IdempotencyKeyRequired,
        /// The idempotency key belongs to an earlier command with another input.
        ///
        /// Take a new key for another command; to repeat the earlier one, send its input unchanged.
        IdempotencyKeyReused,
    }
}

/// Somebody who wants to become a customer.
#[derive(InputObject)]
pub struct UserRegisterInput {
    email: String,
    /// 12 to 128 characters that are hard to guess: a few uncommon words will do.
    password: String,
    /// 1 to 100 characters.
    display_name: String,
    /// The language to write in, as a BCP 47 tag; English when absent.
    locale: Option<String>,
    idempotency_key: IdempotencyKey,
}

/// E-mail address and password.
#[derive(InputObject)]
pub struct LoginInput {
    email: String,
    password: String,
}

/// A refresh token to exchange.
#[derive(InputObject)]
pub struct TokenRefreshInput {
    refresh_token: String,
}

/// What to change about yourself; what is absent stays.
#[derive(InputObject)]
pub struct ProfileUpdateInput {
    /// 1 to 100 characters.
    display_name: Option<String>,
    /// The language to write in, as a BCP 47 tag.
    locale: Option<String>,
}

/// Who gets which role.
#[derive(InputObject)]
pub struct RoleAssignInput {
    user_id: ID,
    role: Role,
}

/// The answer to `login`.
#[derive(SimpleObject)]
pub struct LoginPayload {
    /// `null` when the login was refused.
    tokens: Option<Tokens>,
    /// `null` when the login was refused.
    user: Option<User>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<AuthUserError>,
}

/// The answer to `tokenRefresh`.
#[derive(SimpleObject)]
pub struct TokenRefreshPayload {
    /// `null` when the exchange was refused.
    tokens: Option<Tokens>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<AuthUserError>,
}

/// The answer to `logout`.
#[derive(SimpleObject)]
pub struct LogoutPayload {
    /// Whether there was a session to end.
    logged_out: bool,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<AuthUserError>,
}

macro_rules! user_payloads {
    ($($(#[$doc:meta])* $payload:ident;)+) => {
        $(
            $(#[$doc])*
            #[derive(SimpleObject)]
            pub struct $payload {
                /// The user after the command; `null` when it was refused.
                user: Option<User>,
                /// Why it was refused; empty when it was not.
                user_errors: Vec<AuthUserError>,
            }

            impl $payload {
                fn of(result: Result<vostro_auth::User, AuthError>) -> Result<Self> {
                    let (user, user_errors) = answer(result)?;
                    Ok(Self { user: user.map(User::from), user_errors })
                }
            }
        )+
    };
}

user_payloads! {
    /// The answer to `userRegister`.
    UserRegisterPayload;
    /// The answer to `profileUpdate`.
    ProfileUpdatePayload;
    /// The answer to `roleAssign`.
    RoleAssignPayload;
}

/// A result, or the refusal as the client sees it. A missing session or role is a fault of the request; that it was
/// tried is on record by now.
fn answer<T>(result: Result<T, AuthError>) -> Result<(Option<T>, Vec<AuthUserError>)> {
    match result {
        Ok(value) => Ok((Some(value), vec![])),
        Err(AuthError::Refused(refusal)) => match refusal.code {
            Code::ScopeInsufficient => Err(forbidden()),
            Code::SessionMissing => Err(unauthenticated()),
            _ => Ok((None, vec![AuthUserError::of(refusal)?])),
        },
        Err(error) => Err(failure(error)),
    }
}

/// Registering, sessions, profiles and roles.
pub struct Mutation;

#[Object(name = "Mutation")]
impl Mutation {
    /// Makes you a customer. The bank opens a default account soon after.
    #[graphql(directive = Access::apply(anyone().cost(20)))]
    async fn user_register(&self, ctx: &Context<'_>, input: UserRegisterInput) -> Result<Option<UserRegisterPayload>> {
        let registration = Registration {
            email: input.email,
            password: input.password.into(),
            display_name: input.display_name,
            locale: input.locale,
            idempotency_key: input.idempotency_key.into(),
        };
        let registered = facade(ctx)?.register(&guards::command(ctx)?, registration).await;
        UserRegisterPayload::of(registered.map(|registered| registered.user)).map(Some)
    }

    /// Opens a session.
    #[graphql(directive = Access::apply(anyone().cost(20)))]
    async fn login(&self, ctx: &Context<'_>, input: LoginInput) -> Result<Option<LoginPayload>> {
        let result = facade(ctx)?.login(&guards::command(ctx)?, &input.email, &input.password.into()).await;
        let (logged_in, user_errors) = answer(result)?;
        let (tokens, user) = logged_in.map(|LoggedIn { tokens, user }| (tokens.into(), user.into())).unzip();
        Ok(Some(LoginPayload { tokens, user, user_errors }))
    }

    /// Exchanges a refresh token for the next pair of tokens. Each can be exchanged once.
    #[graphql(directive = Access::apply(anyone().cost(10)))]
    async fn token_refresh(&self, ctx: &Context<'_>, input: TokenRefreshInput) -> Result<Option<TokenRefreshPayload>> {
        let result = facade(ctx)?.refresh(&guards::command(ctx)?, &input.refresh_token.into()).await;
        let (tokens, user_errors) = answer(result)?;
        Ok(Some(TokenRefreshPayload { tokens: tokens.map(Tokens::from), user_errors }))
    }

    /// Ends the session of this request: its tokens are not accepted any more.
    #[graphql(directive = Access::apply(signed_in().cost(10)))]
    async fn logout(&self, ctx: &Context<'_>) -> Result<Option<LogoutPayload>> {
        let (ended, user_errors) = answer(facade(ctx)?.logout(&guards::command(ctx)?).await)?;
        Ok(Some(LogoutPayload { logged_out: ended.unwrap_or(false), user_errors }))
    }

    /// Changes what the bank calls you and the language it writes in.
    #[graphql(directive = Access::apply(signed_in().cost(10)))]
    async fn profile_update(
        &self,
        ctx: &Context<'_>,
        input: ProfileUpdateInput,
    ) -> Result<Option<ProfileUpdatePayload>> {
        let change = ProfileChange { display_name: input.display_name, locale: input.locale };
        ProfileUpdatePayload::of(facade(ctx)?.profile_update(&guards::command(ctx)?, change).await).map(Some)
    }

    /// Gives somebody a role. For administrators; the module refuses all others, so that the attempt is on record.
    #[graphql(directive = Access::apply(only(&[KernelRole::Admin]).recorded().cost(10)))]
    async fn role_assign(&self, ctx: &Context<'_>, input: RoleAssignInput) -> Result<Option<RoleAssignPayload>> {
        let user_id = ids::decode(IdKind::User, &input.user_id)?;
        RoleAssignPayload::of(facade(ctx)?.role_assign(&guards::command(ctx)?, user_id, input.role.into()).await)
            .map(Some)
    }
}
