"""Engines of MLX: convolutions by products, exact functions, recursions."""
