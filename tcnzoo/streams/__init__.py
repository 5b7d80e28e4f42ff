"""A model's step of a stream as a short list of operations, and what computes it: see `program`."""
