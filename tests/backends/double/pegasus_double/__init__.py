"""A backend made for tests: the model said once more in NumPy, in the most obvious way."""
