"""A built network as a file of another runtime."""
