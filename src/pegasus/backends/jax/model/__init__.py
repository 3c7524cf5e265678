"""The model as Linen modules, and the Flax classes over them."""
