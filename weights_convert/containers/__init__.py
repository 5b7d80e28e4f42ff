"""Containers that several formats share: .pt, .npz, .h5, .safetensors and what lies in them."""
