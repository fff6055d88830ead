-- The rules themselves stay, and so does their type: what was decided is not forgotten.
DROP INDEX rule_id IF EXISTS;
