-- What the instance would take if it were free, or has: one that is stopping, or cannot reach the broker, has no share.
alter table instance add column candidate_for text[] not null default '{}';
