"""What happens to searches and to a change of model when processes are killed: the harness of tests and benchmarks."""
