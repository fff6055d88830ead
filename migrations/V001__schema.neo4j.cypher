// Business keys
CREATE CONSTRAINT product_id IF NOT EXISTS FOR (n:Product) REQUIRE n.id IS UNIQUE;
CREATE CONSTRAINT image_id IF NOT EXISTS FOR (n:Image) REQUIRE n.id IS UNIQUE;
CREATE CONSTRAINT instance_id IF NOT EXISTS FOR (n:Instance) REQUIRE n.id IS UNIQUE;
CREATE CONSTRAINT entity_key IF NOT EXISTS FOR (n:Entity) REQUIRE n.key IS UNIQUE;
CREATE CONSTRAINT generation_id IF NOT EXISTS FOR (n:Generation) REQUIRE n.id IS UNIQUE;
CREATE CONSTRAINT job_id IF NOT EXISTS FOR (n:Job) REQUIRE n.id IS UNIQUE;
CREATE CONSTRAINT removed_id IF NOT EXISTS FOR (n:Removed) REQUIRE n.id IS UNIQUE;
CREATE CONSTRAINT counter_name IF NOT EXISTS FOR (n:Counter) REQUIRE n.name IS UNIQUE;
CREATE CONSTRAINT migration_version IF NOT EXISTS FOR (n:Migration) REQUIRE n.version IS UNIQUE;

// What filters and the change feed look for
CREATE INDEX product_revision IF NOT EXISTS FOR (n:Product) ON (n.revision);
CREATE INDEX product_identity IF NOT EXISTS FOR (n:Product) ON (n.identity);
CREATE INDEX product_seller IF NOT EXISTS FOR (n:Product) ON (n.seller);
CREATE INDEX product_price IF NOT EXISTS FOR (n:Product) ON (n.price);
CREATE INDEX removed_revision IF NOT EXISTS FOR (n:Removed) ON (n.revision);

// Words
CREATE FULLTEXT INDEX product_text IF NOT EXISTS FOR (n:Product) ON EACH [n.title, n.description];
CREATE FULLTEXT INDEX entity_text IF NOT EXISTS FOR (n:Entity) ON EACH [n.text];
CALL db.awaitIndexes(60);
