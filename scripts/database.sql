-- The database and its owner, run once by the server's administrator (scripts/stack.sh, docker-compose.yml).
-- The owner is no superuser: it may create databases (tests) and the modules' roles (`vostro migrate`), no more.
-- Reads the owner's password from the environment variable VOSTRO_OWNER_PASSWORD.
\getenv owner_password VOSTRO_OWNER_PASSWORD
\set ON_ERROR_STOP on

select not exists (select from pg_roles where rolname = 'vostro_owner') as missing \gset
\if :missing
  create role vostro_owner login createdb createrole;
\endif
alter role vostro_owner password :'owner_password';
-- Diagnosis (`vostro doctor`), and ending the sessions of the modules' roles when a database is dropped.
grant pg_monitor, pg_signal_backend to vostro_owner;

select not exists (select from pg_database where datname = 'vostro') as missing \gset
\if :missing
  create database vostro owner vostro_owner;
\endif
\connect vostro
create extension if not exists pg_stat_statements;
