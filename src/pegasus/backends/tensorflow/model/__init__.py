"""The model as Keras layers, and the Keras models over them."""
