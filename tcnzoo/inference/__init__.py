"""Inference on arrays, apart from the modules that hold parameters."""
