-- Whom the bank can write to: a projection of auth's events. Personal data stays sealed here as it was in the event; only
-- the sender of e-mails opens it, for the moment of sending.
create table notification.recipient (
    user_id            uuid   primary key,
    -- The sequence of the auth event the contact came from; an older event never replaces a newer contact. Zero: none yet,
    -- the row was made by a preference.
    contact_sequence   bigint not null default 0,
    sealed_contact     text,
    -- BCP 47, as the person wrote it.
    locale             text,
    -- How often the person has changed preferences: the sequence of those events. Zero: there are none to look up.
    preference_version bigint not null default 0 check (preference_version >= 0),
    check ((sealed_contact is null) = (contact_sequence = 0)),
    check ((locale is null) = (contact_sequence = 0))
);

-- What a person chose, where it was chosen. Defaults live in code.
create table notification.preference (
    user_id uuid    not null references notification.recipient (user_id),
    topic   text    not null check (topic in ('WELCOME', 'SECURITY', 'ACCOUNT', 'PAYMENT_SENT', 'PAYMENT_RECEIVED', 'PAYMENT_FAILED')),
    channel text    not null check (channel in ('IN_APP', 'EMAIL')),
    enabled boolean not null,
    primary key (user_id, topic, channel),
    -- Mandatory notices ignore opt-out; there is nothing to store.
    check (enabled or topic <> 'SECURITY' or channel <> 'IN_APP')
);

-- How an account is named in a text: the last characters of its number. The number itself is not kept.
create table notification.account (
    account_id uuid primary key,
    tail       text not null check (length(tail) <= 4)
);

-- One row per decision: what is said to whom about which event on which channel, or why nothing is said.
--
-- The id is computed from (source_event_id, user_id, topic, channel), its leading bits are the event's time. So the primary
-- key is the de-duplication key, and new rows go to the end of its index.
--
-- The text is not stored: the template's name and variables are, and the text is made when somebody reads it.
create table notification.notification (
    -- The order a person sees notifications in, and where a subscription resumes.
    sequence        bigint      not null generated always as identity,
    created_at      timestamptz not null,
    delivered_at    timestamptz,
    read_at         timestamptz,
    id              uuid        primary key,
    user_id         uuid        not null,
    source_event_id uuid        not null,
    account_id      uuid,
    topic           text        not null check (topic in ('WELCOME', 'SECURITY', 'ACCOUNT', 'PAYMENT_SENT', 'PAYMENT_RECEIVED', 'PAYMENT_FAILED')),
    channel         text        not null check (channel in ('IN_APP', 'EMAIL')),
    status          text        not null check (status in ('QUEUED', 'SENT', 'RETRYING', 'DELIVERED', 'READ', 'FAILED', 'SUPPRESSED')),
    locale          text        not null,
    -- Template and variables.
    message         json        not null,
    -- Why nothing is said.
    suppressed      text,
    -- Why an e-mail could not be sent.
    failure         text,
    -- SHA-256 over subject, text and HTML of a sent e-mail.
    content_hash    bytea       check (length(content_hash) = 32),
    check ((status = 'SUPPRESSED') = (suppressed is not null)),
    check ((status = 'FAILED') = (failure is not null)),
    check (status not in ('DELIVERED', 'READ') or delivered_at is not null),
    check ((status = 'READ') = (read_at is not null))
)
-- Room on each page for the two updates a row may get: delivered, read.
with (fillfactor = 90);
-- Rows are appended in bulk and rarely changed.
alter table notification.notification set (
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 500000
);
-- Lists. Neither index holds a column that marking as delivered changes, so that this update touches no index.
create index notification_of_user on notification.notification (user_id, sequence) where suppressed is null;
create index notification_unread on notification.notification (user_id, sequence)
    where read_at is null and suppressed is null and channel = 'IN_APP';

-- E-mails to send. Presence is the state: a row is deleted when its notification is settled.
create table notification.email (
    notification_id uuid        primary key references notification.notification (id),
    user_id         uuid        not null,
    -- How often it was tried.
    attempts        integer     not null default 0 check (attempts >= 0),
    -- When to try next. Claiming a row moves this to the end of the claim, so an abandoned one becomes due by itself.
    due_at          timestamptz not null,
    -- The pass that holds it; whoever lost the claim can no longer settle the row.
    claim           uuid,
    queued_at       timestamptz not null,
    -- Who and what caused it, for the events that follow.
    correlation_id  uuid        not null,
    actor_kind      text        not null,
    actor_id        uuid,
    traceparent     text
);
create index email_due on notification.email (due_at);
