-- The trail itself stays, and so do its types: it says what was done.
DROP INDEX event_at IF EXISTS;
DROP INDEX load_id IF EXISTS;
DROP INDEX audit_id IF EXISTS;
DROP INDEX event_id IF EXISTS;
