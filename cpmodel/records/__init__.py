"""What a study keeps: requests, samples, settings, and the store that holds them."""
