"""Engines of Keras: loops over time, calls of numpy, recursions."""
