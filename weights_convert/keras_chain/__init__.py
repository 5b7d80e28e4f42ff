"""Chains of Keras layers, read from and written to Keras files: shared by three formats."""
