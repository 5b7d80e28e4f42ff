"""pytorch-tcn's checkpoints in and out, held against that library's own outputs."""

import itertools
import json

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.formats.protocol import convert
from tests.support.compare import assert_close, assert_same_bits, noise
from tests.support.pytorch_tcn_nets import net, saved

torch = pytest.importorskip("torch")
pytorch_tcn = pytest.importorskip("pytorch_tcn")

pytestmark = pytest.mark.filterwarnings("ignore:(?s).*is not compatible with activation")

ACTIVATIONS = ("relu", "tanh", "leaky_relu", "sigmoid", "elu", "gelu", "selu")
GRID = list(
    itertools.product(
        ("weight_norm", "batch_norm", "layer_norm", None),
        (False, True),
        (False, True),
        (True, False),
        (None, "add", "concat"),
    )
)


def arguments(number):
    """Arguments of the net for one row of the grid; what the grid leaves open goes round."""
    norm, gate, skip, causal, embedding_mode = GRID[number]
    chosen = {
        "num_inputs": 3,
        "num_channels": ([5, 4, 4], [2, 6], [3, 5, 7])[number % 3],
        "kernel_size": (3, 2, 4, 1)[number % 4],
        "dropout": 0.2,
        "use_norm": norm,
        "use_gate": gate,
        "use_skip_connections": skip,
        "causal": causal,
        "activation": ACTIVATIONS[number % 7],
        "output_projection": (None, 9)[number % 2],
        "output_activation": (None, "tanh", "sigmoid", None, "relu")[number % 5],
    }
    chosen["dilations"] = [3, 1, 2][: len(chosen["num_channels"])]
    if embedding_mode:
        chosen |= {"embedding_shapes": [(4,), (3, 17)], "embedding_mode": embedding_mode}
    return chosen


def hints_for(chosen):
    """What no state_dict says of a net, as on the command line."""
    hints = {"causal": str(chosen["causal"]).lower(), "activation": chosen["activation"]}
    hints["output_activation"] = chosen["output_activation"] or "none"
    if len(set(chosen["num_channels"])) == 1:
        hints["skip_connections"] = chosen["use_skip_connections"]
    if "embedding_shapes" in chosen:
        hints["embeddings"] = [4, {"channels": 3, "per_step": True}]
        hints["embedding_mode"] = chosen["embedding_mode"]
    return hints


def inputs(chosen):
    """A signal, and embeddings where the net takes them: one for all steps, one for each."""
    rows = [noise(2, 4, seed=5), noise(2, 3, 17, seed=6)] if "embedding_shapes" in chosen else []
    return noise(2, 3, 17), rows


def output(made, chosen):
    """What pytorch-tcn itself gives, computed in float64."""
    x, rows = inputs(chosen)
    embeddings = [torch.from_numpy(row) for row in rows] or None
    with torch.no_grad():
        return made.double()(torch.from_numpy(x), embeddings=embeddings).numpy()


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    """Convert the net of a row of the grid, once: (its arguments, its output, where ours is)."""
    done = {}

    def carry(number):
        if number not in done:
            chosen, folder = arguments(number), tmp_path_factory.mktemp("carried")
            made = saved(chosen, folder / "net.pt")
            report = convert(folder / "net.pt", folder / "ours", hints=hints_for(chosen))
            assert report.from_format == "pytorch-tcn"
            assert set(report.used) | set(report.dropped) == set(made.state_dict())
            done[number] = chosen, output(made, chosen), folder / "ours"
        return done[number]

    return carry


@pytest.mark.parametrize("number", range(len(GRID)))
def test_reference_gives_the_output_of_pytorch_tcn(number, carried):
    chosen, expected, ours = carried(number)
    x, rows = inputs(chosen)
    y = tcnzoo.predict(tcnzoo.load(ours, "numpy", dtype="float64"), x, embeddings=rows)
    assert_close(y, expected, 1e-12)


@pytest.mark.parametrize("number", range(0, len(GRID), 11))
def test_backend_gives_the_output_of_pytorch_tcn(number, native, carried):
    chosen, expected, ours = carried(number)
    x, rows = inputs(chosen)
    y = tcnzoo.predict(tcnzoo.load(ours, native), x, embeddings=rows)
    assert_close(y, expected)


@pytest.mark.parametrize("number", range(len(GRID)))
def test_pytorch_tcn_loads_our_export_strictly(number, carried, tmp_path):
    chosen, expected, ours = carried(number)
    convert(ours, tmp_path / "back.pt", to_format="pytorch-tcn")
    back = pytorch_tcn.TCN(**json.loads((tmp_path / "back.json").read_text())).eval()
    back.load_state_dict(torch.load(tmp_path / "back.pt", weights_only=True), strict=True)
    np.testing.assert_array_equal(output(back, chosen), expected)


def test_our_export_is_read_back_without_hints(tmp_path):
    chosen = arguments(7)
    saved(chosen, tmp_path / "net.pt")
    convert(tmp_path / "net.pt", tmp_path / "ours", hints=hints_for(chosen))
    convert(tmp_path / "ours", tmp_path / "back.pt", to_format="pytorch-tcn")
    report = convert(tmp_path / "back.pt", tmp_path / "again")
    assert report.from_format == "pytorch-tcn"
    assert not report.assumed
    spec, weights = read_checkpoint(tmp_path / "ours")
    again, same = read_checkpoint(tmp_path / "again")
    assert again == spec
    assert_same_bits(same, weights)


def test_older_names_are_read(tmp_path):
    chosen = arguments(1)
    made = saved(chosen, tmp_path / "new.pt")
    older = {
        name.replace("parametrizations.weight.original0", "weight_g")
        .replace("parametrizations.weight.original1", "weight_v")
        .replace("padder.buffer", "buffer"): tensor
        for name, tensor in made.state_dict().items()
    }
    assert older.keys() != made.state_dict().keys()
    torch.save(older, tmp_path / "old.pt")
    for name in ("new", "old"):
        convert(tmp_path / f"{name}.pt", tmp_path / name, hints=hints_for(chosen))
    assert_same_bits(read_checkpoint(tmp_path / "old")[1], read_checkpoint(tmp_path / "new")[1])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_types_survive_both_ways(dtype, tmp_path):
    made = net(arguments(8)).to(getattr(torch, dtype))
    torch.save(made.state_dict(), tmp_path / "net.pt")
    hints = hints_for(arguments(8))
    convert(tmp_path / "net.pt", tmp_path / "ours", hints=hints)
    assert {str(array.dtype) for array in read_checkpoint(tmp_path / "ours")[1].values()} == {dtype}
    convert(tmp_path / "ours", tmp_path / "back.pt", to_format="pytorch-tcn")
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    for name, tensor in made.state_dict().items():
        assert back[name].dtype == tensor.dtype
        if "embedding_projection_2" not in name:
            assert torch.equal(back[name], tensor), name
