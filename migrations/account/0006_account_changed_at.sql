-- When an account's version became what it is. Absent until it changes for the first time; of an earlier change where a
-- release that does not know the column has made the last one.
alter table account.account add column changed_at timestamptz;
