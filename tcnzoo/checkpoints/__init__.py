"""Checkpoint directories, their cards, and streaming states on disk."""
