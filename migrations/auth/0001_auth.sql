-- People, their passwords, their sessions, and the keys access tokens are signed with.

-- A person. What identifies somebody outside the bank is stored sealed; the e-mail can be looked up by its blind index
-- only. The row's lock orders everything that happens to the person, and `sequence` counts the events told about it.
create table auth.user_account (
    id                  uuid        primary key,
    -- HMAC-SHA-256 of the normalised e-mail.
    email_index         bytea       not null,
    sealed_email        bytea       not null check (octet_length(sealed_email) between 30 and 400),
    sealed_display_name bytea       not null check (octet_length(sealed_display_name) between 30 and 1000),
    locale              text        not null check (length(locale) <= 35 and locale ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$'),
    status              text        not null check (status in ('ACTIVE')),
    sequence            bigint      not null check (sequence >= 1),
    created_at          timestamptz not null,
    -- When a role was last given after registering: access tokens that are older say something outdated.
    roles_changed_at    timestamptz,
    constraint user_account_email_once unique (email_index),
    constraint user_account_email_index_is_a_digest check (octet_length(email_index) = 32)
);
create index user_account_by_role_change on auth.user_account (roles_changed_at) where roles_changed_at is not null;

create table auth.role_assignment (
    user_id     uuid        not null references auth.user_account,
    role        text        not null check (role in ('CUSTOMER', 'COMPLIANCE_OFFICER', 'OPERATOR', 'ADMIN')),
    assigned_at timestamptz not null,
    -- Who gave it; absent when the bank itself did.
    assigned_by uuid,
    primary key (user_id, role)
);

create table auth.password_credential (
    user_id    uuid        primary key references auth.user_account,
    -- Argon2id in PHC string form: parameters, salt and hash in one.
    phc        text        not null check (phc like '$argon2id$v=19$%' and length(phc) <= 200),
    changed_at timestamptz not null
);

-- One login. Its refresh tokens are one family: the session ends as a whole.
create table auth.session (
    id                uuid        primary key,
    user_id           uuid        not null references auth.user_account,
    created_at        timestamptz not null,
    -- However often it is refreshed, the session does not outlive this.
    expires_at        timestamptz not null check (expires_at > created_at),
    revoked_at        timestamptz,
    revocation_reason text        check (revocation_reason in ('LOGOUT', 'REUSE_DETECTED')),
    check ((revoked_at is null) = (revocation_reason is null))
);
create index session_by_revocation on auth.session (revoked_at) where revoked_at is not null;
create index session_by_expiry on auth.session (expires_at);

-- Only digests are stored. A token is used once; the one that is not used yet is the session's current one.
create table auth.refresh_token (
    token_hash bytea       primary key check (octet_length(token_hash) = 32),
    session_id uuid        not null references auth.session on delete cascade,
    issued_at  timestamptz not null,
    expires_at timestamptz not null check (expires_at > issued_at),
    used_at    timestamptz
);
create index refresh_token_by_session on auth.refresh_token (session_id);
create unique index refresh_token_one_current on auth.refresh_token (session_id) where used_at is null;

-- Failed logins per identifier, known or not. The bucket is a keyed digest, so the table names nobody.
create table auth.login_throttle (
    bucket            bytea       primary key check (octet_length(bucket) = 32),
    failures          integer     not null check (failures >= 1),
    window_started_at timestamptz not null,
    last_failure_at   timestamptz not null,
    blocked_until     timestamptz
);
create index login_throttle_by_age on auth.login_throttle (last_failure_at);

-- Key pairs for access tokens (ES256). A key is published before it signs, and stays published until every token it
-- signed has expired; its private half is destroyed when it stops signing.
create table auth.signing_key (
    -- RFC 7638 thumbprint of the public key.
    kid                text        primary key check (length(kid) = 43),
    state              text        not null check (state in ('NEXT', 'ACTIVE', 'RETIRED')),
    -- Uncompressed point on P-256.
    public_key         bytea       not null check (octet_length(public_key) = 65),
    -- PKCS#8, sealed.
    sealed_private_key bytea,
    created_at         timestamptz not null,
    activated_at       timestamptz,
    retired_at         timestamptz,
    check ((state = 'RETIRED') = (sealed_private_key is null)),
    check ((state = 'NEXT') = (activated_at is null)),
    check ((state = 'RETIRED') = (retired_at is not null))
);
create unique index signing_key_one_in_office on auth.signing_key (state) where state <> 'RETIRED';

-- Commands that were carried out under a key the client chose.
create table auth.idempotency (
    command     text        not null,
    key         text        not null check (length(key) between 1 and 128),
    -- Keyed digest of the input without its password, which is compared with the stored hash instead.
    fingerprint bytea       not null check (octet_length(fingerprint) = 32),
    -- Checked at commit: the key is claimed before the person exists.
    user_id     uuid        not null references auth.user_account deferrable initially deferred,
    created_at  timestamptz not null,
    primary key (command, key)
);
create index idempotency_by_age on auth.idempotency (created_at);
