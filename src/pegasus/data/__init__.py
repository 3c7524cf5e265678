"""Documents on their way to a model: for now, cutting them into sentences."""
