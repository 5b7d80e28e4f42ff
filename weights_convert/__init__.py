"""Checkpoint formats to neutral weights and back: one file a format, no model code."""
