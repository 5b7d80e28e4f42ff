"""Mamba-2 of transformers and of mlx-lm, with weights that hide nothing."""

import contextlib
import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import Mamba2Config, Mamba2Model  # noqa: E402 - may be missing
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer  # noqa: E402 - as above
from transformers.utils import logging  # noqa: E402 - as above

logging.set_verbosity_error()
logging.disable_progress_bar()

SIZES = {
    "hidden_size": 12, "expand": 2, "num_heads": 6, "head_dim": 4, "state_size": 16, "n_groups": 1,
    "conv_kernel": 4, "chunk_size": 8, "vocab_size": 5, "pad_token_id": None,
}  # fmt: skip


@contextlib.contextmanager
def contained():
    """Keep quiet what transformers writes, and take back what it adds to every torch module."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        if "smart_apply" in vars(torch.nn.Module):
            del torch.nn.Module.smart_apply


def config(**fields):
    """A small configuration."""
    return Mamba2Config(**{**SIZES, **fields})


def _moved(module, seed):
    """Every parameter off its start value, reproducibly."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            shift = torch.randn(parameter.shape, generator=generator)
            parameter += 0.2 * shift
    return module.eval()


def mixer(seed=0, **fields):
    """One mixer of transformers."""
    torch.manual_seed(seed)
    return _moved(Mamba2Mixer(config(**fields), 0), seed)


def model(seed=0, **fields):
    """A stack of transformers, of three layers."""
    torch.manual_seed(seed)
    with contained():
        return _moved(Mamba2Model(config(num_hidden_layers=3, **fields)), seed)


def output(made, x):
    """What transformers itself gives for (batch, channels, time)."""
    signal = torch.from_numpy(np.asarray(x, np.float32)).transpose(1, 2)
    with torch.no_grad(), contained():
        found = made(signal) if isinstance(made, Mamba2Mixer) else made(inputs_embeds=signal)
    found = getattr(found, "last_hidden_state", found)
    return found.transpose(1, 2).numpy()


def hints_for(**fields):
    """What the tensors of such a mixer do not say."""
    low, high = fields.get("time_step_limit", (0.0, float("inf")))
    eps = fields.get("layer_norm_epsilon", 1e-5)
    return {"groups": fields.get("n_groups", 1), "dt_limit": [low, high], "norm_eps": eps}


def saved(made, folder):
    """Save a stack as its users do."""
    with contained():
        made.save_pretrained(folder)
    return folder


def loaded(folder):
    """Load a stack as its users do; (model, what was missing or too much)."""
    with contained():
        made, report = Mamba2Model.from_pretrained(folder, output_loading_info=True)
    return made.eval(), {name: found for name, found in report.items() if found}
