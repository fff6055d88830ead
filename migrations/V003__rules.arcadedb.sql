-- Rules for what searches show: pin, bury, exclude
CREATE VERTEX TYPE Rule IF NOT EXISTS;
CREATE PROPERTY Rule.id IF NOT EXISTS STRING;
CREATE INDEX rule_id IF NOT EXISTS ON Rule (id) UNIQUE;
