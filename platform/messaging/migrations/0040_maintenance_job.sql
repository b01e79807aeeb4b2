-- Long work that an operator ordered: publishing events once more, building a projection again. A row is the order, the
-- second person's decision about it, its progress and what came of it. Rows are kept.
create table maintenance_job (
    id             uuid        primary key,
    kind           text        not null check (kind in ('REPUBLISH', 'REBUILD')),
    -- `<module>.outbox`, or `<module>.<projection>`.
    subject        text        not null,
    -- What is to be done, fixed when it was ordered.
    work           jsonb       not null,
    -- Only count, or only compare.
    dry_run        boolean     not null,
    reason         text        not null check (dry_run or reason <> ''),
    state          text        not null check (state in ('OPEN', 'RUNNING', 'DONE', 'FAILED', 'REJECTED')),
    requested_by   uuid        not null,
    requested_at   timestamptz not null,
    correlation_id uuid        not null,
    traceparent    text,
    decided_by     uuid,
    decided_at     timestamptz,
    -- The position of the event store that is reached, and the last one.
    position       bigint      not null default 0,
    target         bigint      not null default 0,
    -- Events that were published or applied, and, when they have been counted, how many there are.
    events         bigint      not null default 0,
    expected       bigint,
    report         jsonb,
    failure        text,
    -- Attempts since it last got on.
    attempts       integer     not null default 0,
    -- While it runs: from when on another instance may take it over.
    due_at         timestamptz not null default now(),
    ended_at       timestamptz,
    constraint four_eyes check (decided_by <> requested_by),
    check ((state in ('DONE', 'FAILED', 'REJECTED')) = (ended_at is not null)),
    check (state <> 'FAILED' or failure is not null)
);
create index maintenance_job_due on maintenance_job (due_at) where state = 'RUNNING';
create index maintenance_job_newest on maintenance_job (requested_at, id);
create unique index maintenance_job_one_rebuild on maintenance_job (subject)
    where kind = 'REBUILD' and state = 'RUNNING' and not dry_run;
