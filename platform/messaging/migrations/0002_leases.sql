-- Which instance of the bank does what of a module when several run side by side, by this database's clock.

-- Epochs are never given twice, also when a row is deleted and comes again.
create sequence lease_epoch;

-- The relay, and each queue that is consumed. Whoever has let its lease expire may still be working, unknowingly; the
-- epoch is how it is found out.
create table lease (
    what       text        primary key,
    owner      uuid,
    epoch      bigint      not null default nextval('lease_epoch'),
    taken_at   timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null default clock_timestamp(),
    -- Makes the epoch part of a key: a transaction that holds the row `for key share` lets it be renewed, which changes
    -- no key, and keeps it from being taken, which does.
    unique (what, epoch)
);
-- Renewed every few seconds for ever: without touching the indexes.
alter table lease set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The instances that are there to hold leases.
create table instance (
    id         uuid        primary key,
    -- For people: where it runs.
    name       text        not null,
    expires_at timestamptz not null
);
alter table instance set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Whether an instance has a connection here. One whose process has ended has none, and need not be waited for until its
-- leases expire; one that is paused, or whose machine has vanished, still has.
create function is_connected(instance uuid) returns boolean language sql stable as $$
    select exists (select from pg_stat_activity where application_name = 'vostro instance ' || instance)
$$;

-- Keeps the lease from being taken by another until the caller's transaction ends; refuses when it was taken already.
create function hold_lease(wanted text, held bigint) returns void language plpgsql as $$
begin
    perform 1 from lease where what = wanted and epoch = held for key share;
    if not found then
        raise exception 'the lease of % with the epoch % is lost', wanted, held using errcode = 'VL001';
    end if;
end $$;
