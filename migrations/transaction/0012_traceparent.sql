-- The trace its order belongs to, where that is recorded: what is said of it later, when its outcome was lost, stays in it.
alter table transaction.transaction add column traceparent text;
