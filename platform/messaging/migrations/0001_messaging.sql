-- The messaging tables every module has in its own schema. Run with search_path = the module's schema.

-- Events that are committed and not yet confirmed by the broker. Presence is the state: a row is deleted when the broker
-- has confirmed it, so nothing depends on remembering a position.
create table outbox (
    id           bigint generated always as identity primary key,
    event_id     uuid        not null,
    event_type   text        not null,
    slot         smallint    not null check (slot between 0 and 63),
    aggregate_id uuid        not null,
    occurred_at  timestamptz not null,
    -- The CloudEvent in structured mode: exactly the bytes that are published.
    event        bytea       not null
);
-- Rows live for milliseconds: vacuum by count, not by share, and without pauses.
alter table outbox set (
    -- Giving empty pages back to the file system takes a lock that publishing would wait for.
    vacuum_truncate = false,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000
);

-- Which events a subscription has taken effect for. The row commits with the effect, so a redelivery is recognised.
-- Event ids are UUIDv7: old rows are a prefix of the index and are pruned by range.
create table inbox (
    subscription text not null,
    event_id     uuid not null,
    primary key (subscription, event_id)
);
alter table inbox set (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000);

-- Messages that could not be handled, with the reason, until somebody decides about them.
create table dead_letter (
    id           uuid        primary key,
    subscription text        not null,
    -- Absent when the message could not even be read.
    event_id     uuid,
    event_type   text,
    reason_code  text        not null,
    reason       text        not null,
    content_type text        not null,
    headers      jsonb       not null,
    body         bytea       not null,
    failed_at    timestamptz not null default now()
);
create index dead_letter_by_subscription on dead_letter (subscription, failed_at);
create unique index dead_letter_once on dead_letter (subscription, event_id) where event_id is not null;
