"""Engines of torch: packed convolutions, recurrences by chunks, recursions with own gradients."""
