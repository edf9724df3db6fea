"""Whole-server benchmarks that others can rerun: traffic at C speed against our server and against peers."""
