"""mlx-tcn's checkpoints in and out, held against its net written down anew."""

import json

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.formats.protocol import convert
from tcnzoo.verification.parity import TOLERANCE
from tests.support.compare import assert_close, assert_same_bits, noise, rows_for, weights_of
from tests.support.tcns import covering

mx = pytest.importorskip("mlx.core")

from tests.support.mlx_tcn_nets import ACTIVATIONS, TCN, mlx_tcn_net, nn, output  # noqa: E402 - need mlx

ENDINGS = pytest.mark.parametrize("ending", ["safetensors", "npz"])
OPTIONS = {
    "use_norm": ("weight_norm", "batch_norm", "layer_norm", None),
    "use_gate": (False, True),
    "use_skip_connections": (False, True),
    "causal": (True, False),
    "embedding_mode": (None, "add", "concat"),
    "se_residual": (None, False, True),
    "se_reduction": (0, 2),
    "output_projection": (None, 9),
    "num_channels": ([5, 4, 4], [3, 5, 7], [4, 4, 4]),
    "kernel_sizes": (3, 2, [1, 4, 2]),
    "dilations": (None, [3, 1, 2]),
    "activation": tuple(ACTIVATIONS),
}


def _grid():
    """A few nets in which every pair of options meets."""
    rng = np.random.default_rng(0)
    rows = [
        {name: values[rng.integers(len(values))] for name, values in OPTIONS.items()}
        for _ in range(400)
    ]
    return covering([{name: _key(one) for name, one in row.items()} for row in rows])


def _key(value):
    """A list as something that a set may hold."""
    return tuple(value) if isinstance(value, list) else value


GRID = _grid()


def arguments(number):
    """Arguments of the net for one row of the grid."""
    chosen = {
        name: list(one) if isinstance(one, tuple) else one for name, one in GRID[number].items()
    }
    chosen |= {"num_inputs": 3, "output_activation": (None, "tanh", "log_softmax")[number % 3]}
    chosen["use_se"] = chosen["se_residual"] is not None
    if chosen["embedding_mode"]:
        chosen["embedding_shapes"] = [(4,), (3,)]
    return chosen


def hints_for(chosen):
    """What no file says of a net, as on the command line."""
    hints = {"causal": str(chosen["causal"]).lower(), "activation": chosen["activation"]}
    hints["output_activation"] = chosen["output_activation"] or "none"
    if len(set(chosen["num_channels"])) == 1:
        hints["skip_connections"] = chosen["use_skip_connections"]
    if chosen["use_se"]:
        hints["se_residual"] = str(chosen["se_residual"]).lower()
    if "embedding_shapes" in chosen:
        hints["embeddings"] = [4, {"channels": 3, "per_step": True}]
        hints["embedding_mode"] = chosen["embedding_mode"]
    return hints


def net_of(chosen):
    """The net of arguments that say more than it takes."""
    unused = {"se_residual": False, "se_reduction": 8} if not chosen["use_se"] else {}
    mode = chosen["embedding_mode"] or "add"
    return mlx_tcn_net(**{**chosen, **unused, "embedding_mode": mode})


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    """Convert the net of a row of the grid, once: (its arguments, net, where ours is)."""
    done = {}

    def carry(number):
        if number not in done:
            chosen, folder = arguments(number), tmp_path_factory.mktemp("carried")
            path, made = folder / f"net.{('npz', 'safetensors')[number % 2]}", net_of(chosen)
            made.save_weights(str(path))
            found = {"from_format": None if number % 2 == 0 else "mlx-tcn"}
            report = convert(path, folder / "ours", hints=hints_for(chosen), **found)
            names = {name for name, _ in nn.utils.tree_flatten(made.parameters())}
            assert report.from_format == "mlx-tcn"
            assert set(report.used) | set(report.dropped) == names
            done[number] = chosen, made, folder / "ours"
        return done[number]

    return carry


def inputs(ours):
    """A signal, and embeddings where the net takes them."""
    spec, _ = read_checkpoint(ours)
    return noise(2, 3, 17), rows_for(spec, 2, 17)


def tolerance_of(chosen):
    """The usual one, but for selu, whose two constants MLX has to six digits: measured 2.7e-5."""
    return 1e-4 if chosen["activation"] == "selu" else TOLERANCE


@pytest.mark.parametrize("number", range(len(GRID)))
def test_reference_gives_the_output_of_the_net(number, carried):
    chosen, made, ours = carried(number)
    x, rows = inputs(ours)
    y = tcnzoo.predict(tcnzoo.load(ours, "numpy", dtype="float64"), x, embeddings=rows)
    assert_close(output(made, x, rows), y, tolerance_of(chosen))


@pytest.mark.parametrize("number", range(0, len(GRID), 3))
def test_backend_gives_the_output_of_the_net(number, native, carried):
    chosen, made, ours = carried(number)
    x, rows = inputs(ours)
    y = tcnzoo.predict(tcnzoo.load(ours, native), x, embeddings=rows)
    assert_close(y, output(made, x, rows), tolerance_of(chosen))


@ENDINGS
@pytest.mark.parametrize("number", range(0, len(GRID), 2))
def test_the_net_loads_our_export_strictly(number, ending, carried, tmp_path):
    _, made, ours = carried(number)
    convert(ours, tmp_path / f"back.{ending}", to_format="mlx-tcn")
    back = TCN(**json.loads((tmp_path / "back.json").read_text()))
    back.load_weights(str(tmp_path / f"back.{ending}"), strict=True)
    x, rows = inputs(ours)
    # Not the same bits: sums of OpenBLAS are grouped by where the arrays lie in memory.
    assert_close(output(back.eval(), x, rows), output(made, x, rows))


# Weight norm, which mlx-tcn does not compute with

PLAIN_HINTS = {"causal": False, "activation": "relu", "output_activation": "none"}
WEIGHT_NORM = {"kind": "tcn", "in_channels": 3, "channels": [4, 5], "kernel_size": 3}


def test_what_is_set_up_for_weight_norm_has_no_influence(tmp_path):
    made, hints = mlx_tcn_net(use_norm="weight_norm"), PLAIN_HINTS
    held = dict(nn.utils.tree_flatten(made.parameters()))
    rubbish = {
        name: mx.full(one.shape, np.nan) if "weight_" in name else one for name, one in held.items()
    }
    for name, tensors in {"one": held, "other": rubbish}.items():
        mx.savez(str(tmp_path / f"{name}.npz"), **tensors)
        report = convert(tmp_path / f"{name}.npz", tmp_path / name, hints=hints)
        assert report.spec.norm is None
        assert report.dropped["network.0.conv1.weight_g"].startswith("stale: mlx-tcn computes with")
        assert sum("stale" in reason for reason in report.dropped.values()) == 3 * 2 * 2
    one, other = (read_checkpoint(tmp_path / name)[1] for name in ("one", "other"))
    assert_same_bits(one, other)


@ENDINGS
def test_the_kernel_of_weight_norm_is_written_and_the_loss_is_named(ending, tmp_path):
    spec = tcnzoo.load_spec(WEIGHT_NORM)
    weights = weights_of(spec)
    write_checkpoint(tmp_path / "ours", spec, weights)
    path = tmp_path / f"net.{ending}"
    report = convert(tmp_path / "ours", path, to_format="mlx-tcn")
    normed = {name for name in weights if name.endswith(("weight_g", "weight_v"))}
    assert set(report.left_out) == normed
    assert all("the kernel g * v / |v| is written" in one for one in report.left_out.values())
    made = TCN(**json.loads((tmp_path / "net.json").read_text()))
    made.load_weights(str(path), strict=True)
    x = noise(2, 3, 17)
    y = tcnzoo.predict(tcnzoo.create(spec, "numpy", weights=weights, dtype="float64"), x)
    assert_close(output(made.eval(), x), y)
    conv = made.network[1].conv2
    np.testing.assert_array_equal(conv.weight_v, conv.weight)
    expected = mx.linalg.norm(conv.weight, axis=0, keepdims=True)
    np.testing.assert_allclose(conv.weight_g, expected, rtol=1e-6)  # one rounding of float32
    again = convert(path, tmp_path / "again")
    assert (again.spec.norm, again.from_format, again.assumed) == (None, "mlx-tcn", {})


# The way back


@ENDINGS
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_bits_and_spec_survive_both_ways(dtype, ending, tmp_path):
    fields = {"norm": "layer_norm", "squeeze_excitation": {"reduction": 3}, "kernel_size": [1, 3]}
    spec = tcnzoo.load_spec({**WEIGHT_NORM, **fields, "dilation_reset": 1, "dropout": 0.3})
    dtype = tcnzoo.arrays.DTYPES[dtype]
    weights = {name: one.astype(dtype) for name, one in weights_of(spec).items()}
    write_checkpoint(tmp_path / "ours", spec, weights)
    assert not convert(tmp_path / "ours", tmp_path / f"n.{ending}", to_format="mlx-tcn").left_out
    report = convert(tmp_path / f"n.{ending}", tmp_path / "again")
    assert (report.from_format, report.assumed) == ("mlx-tcn", {})
    again, same = read_checkpoint(tmp_path / "again")
    assert again == spec
    assert_same_bits(same, weights)


@ENDINGS
def test_types_of_the_net_survive(ending, tmp_path):
    made = mlx_tcn_net()
    made.set_dtype(mx.bfloat16)
    made.save_weights(str(tmp_path / f"net.{ending}"))
    convert(tmp_path / f"net.{ending}", tmp_path / "ours", hints=PLAIN_HINTS)
    convert(tmp_path / "ours", tmp_path / f"back.{ending}", to_format="mlx-tcn")
    back = mx.load(str(tmp_path / f"back.{ending}"))
    for name, one in nn.utils.tree_flatten(made.parameters()):
        assert back[name].dtype == mx.bfloat16
        if not name.endswith("buffer"):
            assert mx.array_equal(back[name], one), name
