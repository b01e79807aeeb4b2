-- Statements: documents that take a while to write. The row is the job: whoever holds its lock writes the next part, and a
-- part is written in the transaction that counts it, so that a job goes on behind its last part wherever it stopped.
create table account.statement (
    id              uuid        primary key,
    account_id      uuid        not null references account.account (id),
    -- Who asked, and under which idempotency key.
    requested_by    uuid        not null,
    request         text        not null,
    -- Both included.
    first_day       date        not null,
    last_day        date        not null check (last_day >= first_day),
    -- The entries it has: fixed when it is requested, because entries are never added before others.
    first_entry     bigint      not null check (first_entry >= 1),
    entries         bigint      not null check (entries >= 0),
    opening_balance bigint      not null,
    -- After the last entry that is written.
    closing_balance bigint      not null,
    status          text        not null check (status in ('PREPARING', 'READY', 'CANCELLED', 'FAILED', 'EXPIRED')),
    done            bigint      not null default 0,
    parts           integer     not null default 0 check (parts >= 0),
    -- The number of its latest event.
    version         bigint      not null default 1 check (version >= 1),
    -- The term that counts: any other that ends was replaced or cancelled too late.
    term_id         uuid        not null,
    -- When its next part is due, and how often in a row it could not be written.
    due_at          timestamptz not null default now(),
    attempts        integer     not null default 0 check (attempts >= 0),
    -- Who and what caused it, for the events that follow.
    correlation_id  uuid        not null,
    causation_id    uuid        not null,
    actor_kind      text        not null,
    actor_id        uuid,
    traceparent     text,
    requested_at    timestamptz not null,
    ended_at        timestamptz,
    unique (requested_by, request),
    constraint statement_done_within_entries check (done between 0 and entries),
    constraint statement_ready_is_complete check (status <> 'READY' or (done = entries and parts >= 1)),
    constraint statement_ended check ((status = 'PREPARING') = (ended_at is null))
);
-- One at a time for each account: a job is heavy.
create unique index statement_in_preparation on account.statement (account_id) where status = 'PREPARING';
create index statement_due on account.statement (due_at) where status = 'PREPARING';
create index statement_by_account on account.statement (account_id, id);

-- What is written of a statement. Deleted when nobody may read it any more; the event archive keeps what was handed out.
create table account.statement_part (
    statement_id uuid    not null references account.statement (id),
    part         integer not null check (part >= 1),
    content      text    not null,
    primary key (statement_id, part)
);
