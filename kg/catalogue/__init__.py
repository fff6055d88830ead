"""From any table and its pictures to checked products in the graph."""
