-- Why a statement failed, or why its next part could not be written the last time.
alter table account.statement
    add column failure_code text check (failure_code in ('LEDGER_INCONSISTENT', 'NOT_WRITTEN', 'OUT_OF_TIME'));
update account.statement set failure_code = 'OUT_OF_TIME' where status = 'FAILED';
alter table account.statement
    add constraint statement_failed_for_a_reason check (status <> 'FAILED' or failure_code is not null);
