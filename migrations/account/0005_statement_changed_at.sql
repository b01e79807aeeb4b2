-- When a statement got as far as it is. Where a release that does not know the column has written, the request or the end
-- stands for it.
alter table account.statement add column changed_at timestamptz;
