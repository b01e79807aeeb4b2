-- One row per transaction, from the command that was accepted to the ledger's outcome. The command's idempotency key is
-- part of the row, so accepting a command is one insert and a repeated key is found by the same unique index that
-- decides races.
create table transaction.transaction (
    -- UUIDv7 made when the command arrives: index pages fill in order, and the history is read newest first by it.
    id                     uuid        primary key,
    -- The scope of the idempotency key, and who may always see the transaction.
    initiator_id           uuid        not null,
    idempotency_key        text        not null,
    -- SHA-256 of the normalised input: a repetition has the same, a reuse of the key has another.
    fingerprint            bytea       not null check (octet_length(fingerprint) = 32),
    kind                   text        not null check (kind in ('TRANSFER', 'DEPOSIT', 'WITHDRAWAL')),
    source_account_id      uuid        not null,
    destination_account_id uuid        not null,
    -- Owners as they were when the command was accepted; absent on internal accounts.
    source_owner_id        uuid,
    destination_owner_id   uuid,
    amount_minor           bigint      not null check (amount_minor > 0),
    currency               text        not null check (octet_length(currency) = 3),
    reference              text        check (char_length(reference) between 1 and 140),
    -- Where cash came in or went out; absent on transfers.
    channel                text        check (channel in ('BRANCH', 'ATM', 'CARD', 'WIRE')),
    initiated_at           timestamptz not null,
    status                 text        not null default 'INITIATED' check (status in ('INITIATED', 'COMPLETED', 'FAILED')),
    failure_code           text,
    -- When the ledger booked or refused it.
    completed_at           timestamptz,
    check (source_account_id <> destination_account_id),
    check ((status = 'INITIATED') = (completed_at is null)),
    check ((status = 'FAILED') = (failure_code is not null))
)
-- Each row is updated exactly once, soon after its insert and together with its neighbours, so a page keeps room for a
-- second version of all of its rows. The update then stays on its page and touches no index: 100 bytes of WAL instead
-- of 700, and the table is no larger in the end.
with (fillfactor = 50);

create unique index transaction_idempotency on transaction.transaction (initiator_id, idempotency_key);

-- The history of an account, newest first. Two indexes cost 260 bytes of WAL per transaction; a table of
-- (account, transaction) pairs would cost 350 to 500 and a heap of its own.
create index transaction_by_source on transaction.transaction (source_account_id, id);
create index transaction_by_destination on transaction.transaction (destination_account_id, id);

-- Rows are inserted and updated once and stay: vacuum for the hint bits and the visibility map, not for dead rows.
alter table transaction.transaction set (
    autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05
);

-- What this module knows of the accounts, from the account module's events. For checking commands early and for
-- display; the ledger alone decides about funds.
--
-- Events of different aggregates can overtake each other, so a row can begin with any of them: what is not known yet is
-- null, and a row without a number is not an account yet.
create table transaction.account_view (
    id                 uuid   primary key,
    number             text,
    kind               text   check (kind in ('CUSTOMER', 'INTERNAL')),
    -- Absent on internal accounts.
    owner_id           uuid,
    currency           text   check (octet_length(currency) = 3),
    status             text   check (status in ('ACTIVE', 'FROZEN', 'CLOSED')),
    -- Sequence of the account's last event that was applied; older ones change nothing.
    lifecycle_sequence bigint not null default 0 check (lifecycle_sequence >= 0),
    available_minor    bigint,
    -- The same for balances, which are numbered by the ledger.
    balance_sequence   bigint not null default 0 check (balance_sequence >= 0),
    check ((number is null) = (kind is null))
)
-- Every posting updates two rows: keep room, so that an update stays on its page and touches no index.
with (fillfactor = 50);

create index account_view_by_owner on transaction.account_view (owner_id) where owner_id is not null;

alter table transaction.account_view set (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.2
);
