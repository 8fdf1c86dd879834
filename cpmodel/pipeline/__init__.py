"""The closed loop and the stages it is made of, each from a study or from anybody's table."""
