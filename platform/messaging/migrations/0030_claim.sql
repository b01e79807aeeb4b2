-- Data of events that are too large to travel. The row commits with the event, which names it by its digest; subscribers ask
-- for it. Data that several events share is kept once.
create table claim (
    -- SHA-256 of the data.
    digest  bytea       primary key check (length(digest) = 32),
    -- JSON text, exactly as the event's data would have travelled.
    data    bytea       not null,
    -- When an event last referred to it.
    kept_at timestamptz not null default now()
);
create index claim_by_age on claim (kept_at);
