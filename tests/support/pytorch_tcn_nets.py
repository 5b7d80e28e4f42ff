"""Nets of pytorch-tcn with noise in every tensor, as that library makes and saves them."""

import pytest

torch = pytest.importorskip("torch")
pytorch_tcn = pytest.importorskip("pytorch_tcn")


def net(chosen, seed=0):
    """A net of pytorch-tcn in evaluation mode whose every tensor is noise, variances positive."""
    made = pytorch_tcn.TCN(**chosen).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in made.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.3, 2.0, generator=generator)
        elif tensor.is_floating_point() and not name.endswith("buffer"):
            tensor.normal_(0.1, 0.5, generator=generator)
    return made


def saved(chosen, path):
    """Save a net as its users do, and return it."""
    made = net(chosen)
    torch.save(made.state_dict(), path)
    return made
