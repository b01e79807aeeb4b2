-- Whoever follows what happens to violations must find every document that came since, and each once. The numbers are given
-- here and not by the program, so that also those that a release writes which knows nothing of them are in order.
alter table compliance.evidence
    -- Dense from 1, in the order of the commits.
    add column position bigint,
    -- Its number among what happened to the violation: 1 is that it was found.
    add column sequence bigint;

alter table compliance.evidence disable trigger append_only;
update compliance.evidence as kept set position = numbered.position, sequence = numbered.sequence
from (
    select evidence_id, row_number() over (order by attached_at, evidence_id) as position,
           row_number() over (partition by violation_id order by attached_at, evidence_id) + 1 as sequence
    from compliance.evidence
) as numbered
where kept.evidence_id = numbered.evidence_id;
alter table compliance.evidence enable trigger append_only;

alter table compliance.evidence
    alter column position set not null,
    alter column sequence set not null,
    add unique (position),
    add unique (violation_id, sequence);

create function compliance.number_evidence() returns trigger language plpgsql as $$
begin
    -- One writer at a time, until it has committed: documents come by hand.
    perform pg_advisory_xact_lock(hashtext('compliance.evidence'));
    select coalesce(max(position), 0) + 1 into new.position from compliance.evidence;
    select coalesce(max(sequence), 1) + 1 into new.sequence from compliance.evidence where violation_id = new.violation_id;
    return new;
end
$$;
create trigger numbered before insert on compliance.evidence
    for each row execute function compliance.number_evidence();
