"""Models of the precision P(T)."""
