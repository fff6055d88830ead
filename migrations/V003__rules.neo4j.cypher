// Rules for what searches show: pin, bury, exclude
CREATE CONSTRAINT rule_id IF NOT EXISTS FOR (n:Rule) REQUIRE n.id IS UNIQUE;
CALL db.awaitIndexes(60);
