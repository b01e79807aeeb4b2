-- The trace an event belongs to, where that is recorded, for publishing it once more. It is no part of the chain: it says
-- nothing about what happened.
alter table compliance.event add column traceparent text;
