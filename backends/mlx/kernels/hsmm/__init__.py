"""The recursions of hidden semi-Markov models in MLX."""
