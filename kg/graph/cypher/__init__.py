"""Every Cypher statement, one module a concern; the same text for both engines."""
