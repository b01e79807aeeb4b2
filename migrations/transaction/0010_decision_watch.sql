-- Transactions the ledger has not decided in time, from their discovery until they have ended. A few, or none: while there
-- are many, no more are looked for.
create table transaction.overdue (
    transaction_id  uuid        primary key,
    -- How often the ledger was asked about it.
    inquiries       integer     not null default 0 check (inquiries >= 0),
    next_inquiry_at timestamptz not null
);

-- How far the transactions have been looked through. They are found by their ids, which begin with a time: an index on
-- the status would cost every transaction an index entry, and its update the right to stay on its page.
create table transaction.decision_watch (
    only_row     boolean primary key default true check (only_row),
    -- The newest that was looked at; all older ones were, too.
    seen_through uuid    not null
);
insert into transaction.decision_watch (seen_through) values ('00000000-0000-0000-0000-000000000000');
