"""Mamba-2 held against its definition written as loops, and against transformers and mlx-lm.

The weights reach ours by way of the converters.
"""

import json

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import write_checkpoint
from tcnzoo.formats.protocol import convert
from tests.support import oracles
from tests.support.compare import assert_close, noise, reference, weights_of

# transformers computes in float32: measured, 4e-7 of the largest output.
PEERS = 2e-6
CASES = {
    "N16": {},
    "N64": {"state_size": 64},
    "N128": {"state_size": 128},
    "N16-G2": {"n_groups": 2},
    "N64-G2": {"state_size": 64, "n_groups": 2},
    "N128-G2": {"state_size": 128, "n_groups": 2},
    "limits": {"time_step_limit": (0.02, 0.05), "n_groups": 2},
    "lower": {"time_step_limit": (0.04, float("inf"))},
    "biases": {"use_bias": True, "conv_kernel": 3, "expand": 3, "num_heads": 9},
    "bare": {"use_conv_bias": False, "layer_norm_epsilon": 0.02, "conv_kernel": 2},
}
# Shorter than a chunk of 8, one chunk, several, and not a multiple of it.
LENGTHS = (1, 5, 8, 24, 37)
OPTIONS = {
    "plain": {},
    "groups": {"groups": 2},
    "ungrouped": {"groups": 2, "grouped_norm": False},
    "norm-first": {"groups": 2, "norm_before_gate": True},
    "no-norm": {"rms_norm": False},
    "passing": {"d_ssm": 4, "groups": 2},
    "per-channel": {"d_per_channel": True, "groups": 4},
    "limits": {"dt_limit": [0.03, 0.06]},
    "biases": {"bias": True, "conv_bias": False, "d_conv": 2},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_reference_is_the_definition(options):
    sizes = {"channels": 4, "expand": 2, "head_dim": 1 if "d_ssm" in options else 2, "d_state": 5}
    spec = tcnzoo.load_spec({"kind": "mamba2", **sizes, "norm_eps": 0.01, **options})
    weights, x = weights_of(spec), noise(2, 4, 11)
    wide = {name: array.astype(np.float64) for name, array in weights.items()}
    expected = np.stack([oracles.mamba2(signal, wide, spec) for signal in x])
    assert_close(tcnzoo.predict(reference(spec, weights), x), expected, 1e-12)


def carried(fields, tmp_path):
    """Bring a mixer of transformers over; return (mixer, directory)."""
    nets = pytest.importorskip("tests.support.mamba_nets", exc_type=ImportError)
    import torch

    made = nets.mixer(**fields)
    torch.save(made.state_dict(), tmp_path / "mixer.pt")
    convert(tmp_path / "mixer.pt", tmp_path / "ours", hints=nets.hints_for(**fields))
    return made, tmp_path / "ours"


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
def test_reference_gives_the_output_of_transformers(fields, tmp_path):
    made, folder = carried(fields, tmp_path)
    from tests.support.mamba_nets import output

    ours = tcnzoo.load(folder, "numpy", dtype="float64")
    for length in LENGTHS:
        x = noise(2, 12, length)
        assert_close(tcnzoo.predict(ours, x), output(made, x), PEERS, f"length {length}")


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
def test_backend_gives_the_output_of_transformers(fields, native, tmp_path):
    made, folder = carried(fields, tmp_path)
    from tests.support.mamba_nets import output

    x = noise(2, 12, 37)
    assert_close(tcnzoo.predict(tcnzoo.load(folder, native), x), output(made, x), PEERS)


def test_large_steps_give_the_output_of_transformers(tmp_path):
    nets = pytest.importorskip("tests.support.mamba_nets", exc_type=ImportError)
    import torch

    made = nets.mixer(n_groups=2)
    with torch.no_grad():
        made.dt_bias += 30.0
    torch.save(made.state_dict(), tmp_path / "mixer.pt")
    convert(tmp_path / "mixer.pt", tmp_path / "ours", hints={"groups": 2})
    x = noise(2, 12, 37)
    y = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy", dtype="float64"), x)
    assert_close(y, nets.output(made, x))  # float32 sums dt * A of hundreds: measured 3e-6


def test_another_group_shows(tmp_path):
    """The comparison above can fail: with one group instead of two the outputs differ."""
    nets = pytest.importorskip("tests.support.mamba_nets", exc_type=ImportError)
    import torch

    made = nets.mixer(n_groups=2)
    torch.save(made.state_dict(), tmp_path / "mixer.pt")
    x = noise(2, 12, 24)
    for hints in ({"groups": 1}, {"groups": 2, "grouped_norm": False}):
        convert(tmp_path / "mixer.pt", tmp_path / "ours", hints=hints, overwrite=True)
        y = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy"), x)
        assert np.abs(y - nets.output(made, x)).max() > 0.01


@pytest.mark.parametrize("limits", [[0.0, None], [0.02, 0.05]], ids=["plain", "limits"])
def test_reference_gives_the_output_of_mlx_lm(limits, tmp_path):
    mx = pytest.importorskip("mlx.core")
    peers = pytest.importorskip("mlx_lm.models.mamba2")
    spec = tcnzoo.load_spec(
        {"kind": "mamba2", "channels": 12, "head_dim": 4, "d_state": 16, "dt_limit": limits}
    )
    write_checkpoint(tmp_path / "ours", spec, weights_of(spec))
    convert(tmp_path / "ours", tmp_path / "theirs", to_format="transformers-mamba2")
    arguments = json.loads((tmp_path / "theirs" / "config.json").read_text())
    block = peers.Mamba2Block(peers.ModelArgs.from_dict(arguments), 0)
    held = mx.load(str(tmp_path / "theirs" / "model.safetensors"))
    held["conv1d.weight"] = held["conv1d.weight"].moveaxis(2, 1)
    block.load_weights(list(held.items()), strict=True)
    x = noise(2, 12, 37)
    found = np.array(block(mx.array(np.swapaxes(x, 1, 2).astype(np.float32)), None))
    expected = tcnzoo.predict(reference(spec, weights_of(spec)), x)
    assert_close(np.swapaxes(found, 1, 2), expected)
