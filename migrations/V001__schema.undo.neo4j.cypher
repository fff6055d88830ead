// What the chain itself stands on stays: the key of the locks, one of which is held now, and that of its steps.
DROP INDEX entity_text IF EXISTS;
DROP INDEX product_text IF EXISTS;
DROP INDEX removed_revision IF EXISTS;
DROP INDEX product_price IF EXISTS;
DROP INDEX product_seller IF EXISTS;
DROP INDEX product_identity IF EXISTS;
DROP INDEX product_revision IF EXISTS;
DROP CONSTRAINT removed_id IF EXISTS;
DROP CONSTRAINT job_id IF EXISTS;
DROP CONSTRAINT generation_id IF EXISTS;
DROP CONSTRAINT entity_key IF EXISTS;
DROP CONSTRAINT instance_id IF EXISTS;
DROP CONSTRAINT image_id IF EXISTS;
DROP CONSTRAINT product_id IF EXISTS;
