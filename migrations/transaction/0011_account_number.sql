-- Whose is this account number? Numbers never change, so that updates of balances still touch no index.
create index account_view_by_number on transaction.account_view (number) where number is not null;
