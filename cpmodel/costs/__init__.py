"""Measured and counted costs: the costs table, forward run-times, counts on a built network."""
