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
-- A handler that recognises by itself what it has handled has rows only for events that operators gave up. Rows are kept
-- for good: publishing events again from the archive is harmless because of them.
create table inbox (
    subscription text not null,
    event_id     uuid not null,
    primary key (subscription, event_id)
);
alter table inbox set (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000);

-- Keys of which an event could not be handled. Later events of the key are kept behind it, so that its order survives
-- retries, parking and redrive; other keys go on. The row is the lock between adding behind the key and releasing it.
create table parked_key (
    subscription    text        not null,
    -- The partition key of the events. A message that cannot be read has none; a digest of its bytes stands in.
    key             uuid        not null,
    -- WAITING is tried again by itself, QUARANTINED when somebody says so.
    state           text        not null check (state in ('WAITING', 'QUARANTINED')),
    -- Of the first message of the key; counted before each, so that one that ends the process is counted too.
    attempts        integer     not null check (attempts >= 0),
    next_attempt_at timestamptz not null,
    reason_code     text        not null,
    reason          text        not null,
    parked_at       timestamptz not null,
    primary key (subscription, key)
);
create index parked_key_due on parked_key (subscription, next_attempt_at) where state = 'WAITING';

-- The messages of parked keys, in the order they came. The first of a key is the one that failed.
create table parked_message (
    position     bigint      generated always as identity primary key,
    id           uuid        not null unique,
    subscription text        not null,
    key          uuid        not null,
    -- Absent when the message could not even be read.
    event_id     uuid,
    event_type   text,
    content_type text        not null,
    headers      jsonb       not null,
    body         bytea       not null,
    parked_at    timestamptz not null,
    foreign key (subscription, key) references parked_key (subscription, key)
);
create index parked_message_of_key on parked_message (subscription, key, position);
create unique index parked_event_once on parked_message (subscription, event_id) where event_id is not null;
create unique index parked_bytes_once on parked_message (subscription, key) where event_id is null;

-- What an operator wants done with parked messages and a second one has to agree to.
create table parking_request (
    id           uuid        primary key,
    action       text        not null check (action in ('REDRIVE', 'SKIP', 'DISCARD')),
    -- As they were when it was asked for; what came later is not part of it.
    messages     uuid[]      not null check (cardinality(messages) > 0),
    subscription text        not null,
    reason       text        not null check (reason <> ''),
    state        text        not null check (state in ('OPEN', 'APPROVED', 'REJECTED')),
    requested_by uuid        not null,
    requested_at timestamptz not null,
    decided_by   uuid,
    decided_at   timestamptz,
    constraint four_eyes check (decided_by <> requested_by),
    check ((state = 'OPEN') = (decided_by is null))
);

-- Whether the module's consumers run. Running instances look at it every second.
create table consumption (
    only_row   boolean     primary key default true check (only_row),
    paused     boolean     not null,
    changed_at timestamptz not null default now()
);
insert into consumption (paused) values (false);
