-- Accounts and the ledger. Amounts are signed minor units of the account's currency; positive means credit: the bank owes
-- the holder more.

-- What an account is. Everything here but the name and the version never changes; what does change while money moves is
-- in account.balance, so that a posting locks and reads one row per account.
create table account.account (
    id              uuid        primary key,
    -- What people write: an IBAN, or the code of an internal account such as CASH-EUR.
    number          text        not null unique,
    kind            text        not null check (kind in ('CUSTOMER', 'INTERNAL')),
    product         text        not null,
    product_version integer     not null,
    -- Absent on the bank's own accounts.
    owner_id        uuid,
    currency        text        not null check (currency ~ '^[A-Z]{3}$'),
    name            text        not null check (length(name) between 1 and 100),
    -- The number of the latest AccountCreated/AccountUpdated event.
    version         bigint      not null default 1 check (version >= 1),
    created_at      timestamptz not null,
    check ((kind = 'CUSTOMER') = (owner_id is not null))
);
create index account_by_owner on account.account (owner_id, id) where owner_id is not null;
create index account_internal on account.account (number) where kind = 'INTERNAL';

-- Numbers for IBANs: unique by construction, gaps are harmless.
create sequence account.account_number as bigint minvalue 1;

-- How an account stands: always the fold of its entries. kind, currency and owner_id are copies of columns that never
-- change.
create table account.balance (
    account_id      uuid        primary key references account.account (id),
    owner_id        uuid,
    kind            text        not null check (kind in ('CUSTOMER', 'INTERNAL')),
    currency        text        not null,
    status          text        not null check (status in ('ACTIVE', 'FROZEN', 'CLOSED')),
    posted          bigint      not null default 0,
    -- Reservations are bounded so that sums of them cannot overflow in the checks below.
    pending_in      bigint      not null default 0 check (pending_in between 0 and 1000000000000000000),
    pending_out     bigint      not null default 0 check (pending_out between 0 and 1000000000000000000),
    locked          bigint      not null default 0 check (locked between 0 and 1000000000000000000),
    overdraft_limit bigint      not null default 0 check (overdraft_limit between 0 and 1000000000000000),
    -- How many entries the account has; the number of the latest one.
    sequence        bigint      not null default 0 check (sequence >= 0),
    changed_at      timestamptz not null,
    -- available = posted - pending_out - locked + overdraft_limit, and a customer's never goes below zero.
    constraint balance_within_limit check (kind = 'INTERNAL' or posted >= pending_out + locked - overdraft_limit),
    constraint balance_closed_is_empty
        check (status <> 'CLOSED' or (posted = 0 and pending_in = 0 and pending_out = 0 and locked = 0))
-- No column that moves with money is indexed and half of each page is free: updates stay on their page (HOT).
) with (fillfactor = 50);
-- Staff look for the few accounts that are not active.
create index balance_not_active on account.balance (status, account_id) where status <> 'ACTIVE';

-- Which transactions the ledger has decided, each once and for ever: a redelivered transaction is a duplicate because its
-- row exists, so no inbox row is needed. Transaction ids are UUIDv7: the index grows at its right edge.
create table account.posting (
    transaction_id         uuid        primary key,
    -- The terms, as decided; the same transaction on other terms is an error of whoever sent it.
    source_account_id      uuid        not null,
    destination_account_id uuid        not null,
    amount                 bigint      not null,
    currency               text        not null,
    decided_at             timestamptz not null
);

-- The decided transactions that were refused; all others have entries.
create table account.rejection (
    transaction_id uuid primary key references account.posting (transaction_id),
    code           text not null
);

-- The ledger. Append only.
create table account.entry (
    account_id     uuid        not null,
    -- 1, 2, 3, … per account.
    sequence       bigint      not null check (sequence >= 1),
    transaction_id uuid        not null,
    currency       text        not null,
    amount         bigint      not null check (amount <> 0),
    balance_after  bigint      not null,
    booked_at      timestamptz not null,
    booking_date   date        not null,
    -- The only index: history is read by account, newest first; what a transaction booked is in its PostingApplied event.
    primary key (account_id, sequence)
);

-- Insert-only tables: analysed and frozen in large steps instead of all the time.
alter table account.entry set (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000);
alter table account.posting set (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000);

-- Which command or event opened an account, so that asking twice opens one.
create table account.opening (
    owner_id    uuid  not null,
    -- 'registration', or 'key:' and the client's idempotency key.
    request     text  not null,
    -- What was asked for; the same key with something else is refused.
    product     text  not null,
    currency    text  not null,
    name        text,
    account_id  uuid  not null,
    primary key (owner_id, request)
);

-- What is written is written: said by the database, so that it holds for every program and every person.
create function account.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% on %.% is not allowed: what is written is written', tg_op, tg_table_schema, tg_table_name
        using errcode = 'restrict_violation';
end $$;
create trigger entry_append_only before update or delete or truncate on account.entry
    for each statement execute function account.refuse_change();
create trigger posting_append_only before update or delete or truncate on account.posting
    for each statement execute function account.refuse_change();
create trigger rejection_append_only before update or delete or truncate on account.rejection
    for each statement execute function account.refuse_change();
create trigger account_is_kept before delete or truncate on account.account
    for each statement execute function account.refuse_change();
create trigger balance_is_kept before delete or truncate on account.balance
    for each statement execute function account.refuse_change();
create trigger account_terms_are_fixed
    before update of id, number, kind, product, product_version, owner_id, currency, created_at on account.account
    for each statement execute function account.refuse_change();
create trigger balance_terms_are_fixed before update of account_id, owner_id, kind, currency on account.balance
    for each statement execute function account.refuse_change();

-- The two functions below look at whole statements, not at single rows. A function's plan is kept from its first call, be
-- that for one row or for a thousand; index lookups are right for both, a hash over a grown table would not be. Hence the
-- settings.

-- The entries of a transaction sum to zero in each currency, and each entry continues the one before it.
create function account.refuse_broken_entries() returns trigger language plpgsql
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    broken record;
begin
    select transaction_id, currency into broken
    from booked group by transaction_id, currency having sum(amount) <> 0 limit 1;
    if found then
        raise exception 'the % entries of transaction % do not sum to zero', broken.currency, broken.transaction_id
            using errcode = 'check_violation', schema = 'account', table = 'entry', constraint = 'entry_balanced';
    end if;
    select added.account_id, added.sequence into broken
    from booked added
    left join account.entry before on before.account_id = added.account_id and before.sequence = added.sequence - 1
    where coalesce(before.balance_after, 0) + added.amount <> added.balance_after
       or coalesce(before.sequence, 0) + 1 <> added.sequence
    limit 1;
    if found then
        raise exception 'entry % of account % does not continue the one before it', broken.sequence, broken.account_id
            using errcode = 'check_violation', schema = 'account', table = 'entry', constraint = 'entry_continues';
    end if;
    return null;
end $$;
create trigger entry_consistent after insert on account.entry referencing new table as booked
    for each statement execute function account.refuse_broken_entries();

-- A balance is what the account's latest entry says.
create function account.refuse_unexplained_balance() returns trigger language plpgsql
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    unexplained uuid;
begin
    select balance.account_id into unexplained
    from changed balance
    left join lateral (
        select latest.sequence, latest.balance_after, latest.currency from account.entry latest
        where latest.account_id = balance.account_id order by latest.sequence desc limit 1
    ) latest on true
    where coalesce(latest.sequence, 0) <> balance.sequence
       or coalesce(latest.balance_after, 0) <> balance.posted
       or latest.currency <> balance.currency
    limit 1;
    if found then
        raise exception 'the balance of account % is not what its entries say', unexplained
            using errcode = 'check_violation', schema = 'account', table = 'balance',
            constraint = 'balance_is_latest_entry';
    end if;
    return null;
end $$;
create trigger balance_explained_at_update after update on account.balance referencing new table as changed
    for each statement execute function account.refuse_unexplained_balance();
create trigger balance_explained_at_insert after insert on account.balance referencing new table as changed
    for each statement execute function account.refuse_unexplained_balance();
