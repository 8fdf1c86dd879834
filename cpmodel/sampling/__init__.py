"""Sampling: designs propose configurations, a pool of workers trains them and records every outcome."""
