-- A statement is its requester's. Staff may have one prepared without the holder learning of it, so neither stands in the
-- other's way; and one of a period is not written again for the same person while there is one.
drop index account.statement_in_preparation;
create unique index statement_in_preparation on account.statement (account_id, requested_by) where status = 'PREPARING';
create unique index statement_of_period on account.statement (account_id, requested_by, first_day, last_day)
    where status in ('PREPARING', 'READY');

-- What it will say is fixed when it is requested.
create trigger statement_terms_are_fixed
    before update of id, account_id, requested_by, request, first_day, last_day, first_entry, entries, opening_balance,
                     correlation_id, causation_id, actor_kind, actor_id, traceparent, requested_at
    on account.statement for each statement execute function account.refuse_change();
create trigger statement_is_kept before delete or truncate on account.statement
    for each statement execute function account.refuse_change();
alter table account.statement
    add constraint statement_actor_kind check (actor_kind in ('USER', 'STAFF', 'SYSTEM', 'ANONYMOUS'));
