-- What the benchmark's commands and effects write, beside the tables of messaging. Only the benchmark's own database has it.
create table command (
    id         uuid        primary key,
    amount     bigint      not null,
    made_at    timestamptz not null
);
-- One row an event. The key is the proof that every event had one effect.
create table effect (
    event_id   uuid        primary key,
    amount     bigint      not null
);
