"""The graph store: Neo4j or the embedded engine, one driver, one Cypher."""
