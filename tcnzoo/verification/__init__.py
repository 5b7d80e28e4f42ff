"""Proof that backends agree, and measurements of how fast they are."""
