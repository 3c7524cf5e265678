"""A call to a tokenizer: its arguments, its rows, what it returns."""
