"""What to train next: pure functions of the samples."""
