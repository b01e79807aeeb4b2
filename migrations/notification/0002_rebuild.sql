-- Where projections are built again from the event store, beside the live ones. Nothing depends on what is in them between
-- two rebuilds, so they are not written to the log: after a crash of the server they are empty, and the next rebuild
-- begins anew.

-- Of a recipient only the contact follows from others' events; what a person prefers is this module's own.
create unlogged table notification.recipient_rebuild (
    user_id          uuid   primary key,
    contact_sequence bigint not null,
    sealed_contact   text   not null,
    locale           text   not null
);

create unlogged table notification.account_rebuild (
    like notification.account including defaults including constraints including indexes
);
