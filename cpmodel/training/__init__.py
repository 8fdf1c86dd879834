"""One request becomes one trained network; many at once in worker processes."""
