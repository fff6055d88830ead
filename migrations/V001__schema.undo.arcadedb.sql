-- What the chain itself stands on stays: the key of the locks, one of which is held now, and that of its steps. So do
-- the types, which are empty.
DROP INDEX entity_text IF EXISTS;
DROP INDEX product_text IF EXISTS;
DROP INDEX removed_revision IF EXISTS;
DROP INDEX product_price IF EXISTS;
DROP INDEX product_seller IF EXISTS;
DROP INDEX product_identity IF EXISTS;
DROP INDEX product_revision IF EXISTS;
DROP INDEX removed_id IF EXISTS;
DROP INDEX job_id IF EXISTS;
DROP INDEX generation_id IF EXISTS;
DROP INDEX entity_key IF EXISTS;
DROP INDEX instance_id IF EXISTS;
DROP INDEX image_id IF EXISTS;
DROP INDEX product_id IF EXISTS;
