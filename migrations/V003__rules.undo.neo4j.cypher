// The rules themselves stay: what was decided is not forgotten.
DROP CONSTRAINT rule_id IF EXISTS;
