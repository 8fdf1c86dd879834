"""Models of measured complexities C(T)."""
