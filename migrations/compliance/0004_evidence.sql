-- Documents that officers keep with a violation. Like the events they never change: what was decided on must be there to be
-- looked at.
create table compliance.evidence (
    evidence_id  uuid        primary key,
    violation_id uuid        not null references compliance.violation,
    file_name    text        not null check (char_length(file_name) between 1 and 200),
    media_type   text        not null
        check (media_type in ('application/pdf', 'image/png', 'image/jpeg', 'text/plain')),
    sha256       bytea       not null,
    content      bytea       not null check (octet_length(content) between 1 and 1048576),
    attached_by  uuid        not null,
    attached_at  timestamptz not null,
    -- The same document once, so that a command that is repeated changes nothing.
    unique (violation_id, sha256),
    constraint hash_of_content check (sha256 = sha256(content))
);
-- Pictures and PDF are compressed already.
alter table compliance.evidence alter column content set storage external;
create trigger append_only before update or delete or truncate on compliance.evidence
    for each statement execute function compliance.refuse_change();
