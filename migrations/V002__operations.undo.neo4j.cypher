// The trail itself stays: it says what was done.
DROP INDEX event_at IF EXISTS;
DROP CONSTRAINT load_id IF EXISTS;
DROP CONSTRAINT audit_id IF EXISTS;
DROP CONSTRAINT event_id IF EXISTS;
