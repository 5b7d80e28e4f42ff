"""Checkpoint formats: what a converter answers, and the conversion of one file into another."""
