-- Events that are committed and become due at a time, unless they are cancelled before. Presence is the state: a row is
-- moved into the outbox by one statement, so it is either here, or there, or cancelled.
create table scheduled_event (
    -- What it is for and about whom: what it is cancelled and postponed by.
    purpose      text        not null check (purpose <> ''),
    subject      uuid        not null,
    due_at       timestamptz not null,
    event_id     uuid        not null,
    event_type   text        not null,
    slot         smallint    not null check (slot between 0 and 63),
    aggregate_id uuid        not null,
    -- The CloudEvent in structured mode, as in the outbox.
    event        bytea       not null,
    primary key (purpose, subject)
);
create index scheduled_event_due on scheduled_event (due_at);
