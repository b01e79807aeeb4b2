-- Where the view is built again from the event store, beside the live one. Nothing depends on what is in it between two
-- rebuilds, so it is not written to the log: after a crash of the server it is empty, and the next rebuild begins anew.
-- Checks and keys are those of the live table; its columns must stay the same, in the same order.
create unlogged table transaction.account_view_rebuild (
    like transaction.account_view including defaults including constraints including indexes
);
