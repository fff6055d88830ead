"""Query layer: planner, search, REST, command line and web page. Importing it does not load torch."""
