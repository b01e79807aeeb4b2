-- The event store and audit log: every event of every module, once, in one chain.

create function compliance.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% of %.% is refused: it is append-only', lower(tg_op), tg_table_schema, tg_table_name
        using errcode = 'restrict_violation';
end
$$;

-- Names that repeat in every row are stored once: 43 bytes less per event, and an index by type of a third of the size.
-- The hash chain covers the names themselves, so a change in here is a change of every event it names.
create table compliance.event_type (
    code smallint generated always as identity primary key,
    name text     not null unique
);
-- A stream is one kind of aggregate of one module; its aggregates are numbered from 1 without gaps.
create table compliance.stream (
    code           smallint generated always as identity primary key,
    module         text not null,
    aggregate_type text not null,
    unique (module, aggregate_type)
);

create table compliance.event (
    -- Dense from 1, in the order of arrival.
    position       bigint      not null,
    occurred_at    timestamptz not null,
    -- Never before the row above, so that a point in time is found by bisecting the positions; no index is needed.
    recorded_at    timestamptz not null,
    sequence       bigint      not null check (sequence >= 1),
    event_id       uuid        not null,
    aggregate_id   uuid        not null,
    correlation_id uuid        not null,
    causation_id   uuid        not null,
    actor_id       uuid,
    -- Where it differs from aggregate_id.
    partition_key  uuid,
    -- What a refused command was about, where that is not the aggregate.
    subject_id     uuid,
    -- No foreign keys: they would cost a lookup per row, and verification finds a code without a name.
    type           smallint    not null,
    stream         smallint    not null,
    -- 0 user, 1 staff, 2 system, 3 anonymous.
    actor_kind     smallint    not null check (actor_kind between 0 and 3),
    -- 0 event, 1 accepted command, 2 refused command.
    outcome        smallint    not null check (outcome between 0 and 2),
    command        text,
    code           text,
    hash           bytea       not null check (octet_length(hash) = 32),
    -- The producer's bytes, unchanged.
    data           text        not null
);
-- What an index costs one event, measured in batches of 300 over 600,000 events of transfers between 10,000 accounts
-- (CPU of the backend; a row without any index costs 2.0 µs and 546 bytes):
--   position                              0.3 µs   20 bytes
--   aggregate_id, stream, sequence        1.3 µs   64 bytes   also answers "by subject"
--   correlation_id                        0.35 µs  12 bytes   seven events share a key and its posting list
--   type, position                        0.5 µs   31 bytes
--   actor_id, position of commands only   0.15 µs   7 bytes   over all events it would be 1.3 µs and 52 bytes
alter table compliance.event add primary key (position) with (fillfactor = 100);
create unique index event_once on compliance.event (aggregate_id, stream, sequence);
create index event_by_correlation on compliance.event (correlation_id);
create index event_by_type on compliance.event (type, position);
create index command_by_actor on compliance.event (actor_id, position) where outcome <> 0;
create index command_by_subject on compliance.event (subject_id, position) where subject_id is not null;
-- Rows never change: freeze them with the first vacuum that sees them, and run it by count, not by share.
alter table compliance.event set (
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000,
    autovacuum_freeze_min_age = 0, autovacuum_analyze_scale_factor = 0.05
);

create trigger append_only before update or delete or truncate on compliance.event
    for each statement execute function compliance.refuse_change();
create trigger append_only before update or delete or truncate on compliance.event_type
    for each statement execute function compliance.refuse_change();
create trigger append_only before update or delete or truncate on compliance.stream
    for each statement execute function compliance.refuse_change();

-- Where the chain ends. Locked by whoever appends, which makes it one writer at a time over all instances.
create table compliance.chain_head (
    only_row    boolean     primary key default true check (only_row),
    position    bigint      not null,
    hash        bytea       not null check (octet_length(hash) = 32),
    recorded_at timestamptz not null,
    -- Gaps that are open; saves looking for them while there are none.
    open_gaps   bigint      not null check (open_gaps >= 0)
) with (fillfactor = 50);
insert into compliance.chain_head (position, hash, recorded_at, open_gaps)
values (0, decode(repeat('00', 32), 'hex'), timestamptz 'epoch', 0);
create trigger never_removed before delete or truncate on compliance.chain_head
    for each statement execute function compliance.refuse_change();

-- How many events of each type are stored, counted with them.
create table compliance.event_count (
    type  smallint primary key references compliance.event_type (code),
    count bigint   not null
) with (fillfactor = 50);

-- An event that is stored while the one before it in its aggregate is not.
create table compliance.event_gap (
    aggregate_id    uuid        not null,
    stream          smallint    not null,
    -- The sequence of the stored event; what is missing ends just before it.
    before_sequence bigint      not null,
    opened_at       timestamptz not null,
    -- When the event before it arrived.
    closed_at       timestamptz,
    primary key (aggregate_id, stream, before_sequence)
);
create index event_gap_open on compliance.event_gap (opened_at) where closed_at is null;

-- What the live rules remember and what they found.

-- Outgoing payments of an account over the last minutes. One row per account and not one per account and minute: it is
-- updated in place, needs no clearing, and is as many rows as there are accounts that pay.
create table compliance.velocity (
    account_id uuid primary key,
    -- {"buckets": [[minute, payments, sum in minor units], ...], "reported": [window, ...]}
    state      json not null
) with (fillfactor = 70);

create table compliance.violation (
    violation_id    uuid        primary key,
    rule_id         text        not null,
    rule_version    integer     not null,
    severity        text        not null check (severity in ('LOW', 'MEDIUM', 'HIGH')),
    -- The account.
    subject_id      uuid        not null,
    -- The evidence, the triggering transaction last.
    transaction_ids uuid[]      not null,
    score           bigint      not null,
    threshold       bigint      not null,
    explanation     text        not null,
    detected_at     timestamptz not null,
    -- Rule, account and window: a rule finds the same thing once.
    dedupe_key      text        not null unique
);
create index violation_newest on compliance.violation (detected_at, violation_id);
create trigger append_only before update or delete or truncate on compliance.violation
    for each statement execute function compliance.refuse_change();
