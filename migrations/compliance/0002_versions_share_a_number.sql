-- Two major versions of one event, published side by side, have the same number in their aggregate. The module keeps apart
-- from them two events that were numbered alike; what the index is left to refuse is the same version twice. The type comes
-- last, so that looking for numbers costs what it did; it makes an entry 8 bytes larger.
create unique index event_version_once on compliance.event (aggregate_id, stream, sequence, type);
drop index compliance.event_once;
