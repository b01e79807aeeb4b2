-- Claims are read in parts. Out of line and not compressed, a part is read by itself; compressed, the whole would be unpacked for
-- each. Rows that are there already keep their form until they are swept.
alter table claim alter column data set storage external;
