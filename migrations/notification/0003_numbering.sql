-- Numbers of one person become visible in their order. Whoever stores notifications of the app locks the rows of the people
-- first, in the order of their ids, and draws numbers then; the rows stay locked until the commit. So whoever sees a number
-- sees all lower ones of that person, and "everything behind this number" is exact.
--
-- A row is only ever locked: it never changes, and nothing is kept in it.
create table notification.numbering (
    user_id uuid primary key
);
