"""State_dicts of torch's own nn.Sequential in and out, held against torch's own outputs."""

import numpy as np
import pytest
import yaml

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.errors import InputError
from tcnzoo.formats.protocol import convert
from tests.support.compare import assert_close, assert_same_bits, noise, weights_of
from tests.support.torch_stacks import STACKS, chain, conv, output, stack

torch = pytest.importorskip("torch")
nn = torch.nn

# torch says that such a convolution copies its input.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")

each_stack = pytest.mark.parametrize("name", STACKS)


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    """Convert a stack, once: (input, torch's output, folder with net.pt and ours)."""
    done = {}

    def carry(name):
        if name not in done:
            folder, made = tmp_path_factory.mktemp("carried"), stack(name)
            torch.save(made.state_dict(), folder / "net.pt")
            (folder / "net.yaml").write_text(yaml.safe_dump(STACKS[name][1], sort_keys=False))
            report = convert(
                folder / "net.pt", folder / "ours", hints={"spec": str(folder / "net.yaml")}
            )
            assert report.from_format == "torch-sequential"
            assert report.used.keys() | report.dropped.keys() == made.state_dict().keys()
            x = noise(2, *STACKS[name][2])
            done[name] = x, output(made, x), folder
        return done[name]

    return carry


@each_stack
def test_reference_gives_the_output_of_torch(name, carried):
    x, expected, folder = carried(name)
    model = tcnzoo.load(folder / "ours", "numpy", dtype="float64")
    assert_close(tcnzoo.predict(model, x), expected, 1e-12)


@each_stack
def test_backend_gives_the_output_of_torch(name, native, carried):
    x, expected, folder = carried(name)
    assert_close(tcnzoo.predict(tcnzoo.load(folder / "ours", native), x), expected)


def described(path):
    """The nn.Sequential that a written .yaml describes."""
    modules = yaml.safe_load(path.read_text())["modules"]
    assert list(modules) == list(range(len(modules)))
    words = {**vars(nn), "parametrizations": nn.utils.parametrizations}
    return nn.Sequential(*(eval(text, words) for text in modules.values())).eval()


@each_stack
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_torch_loads_our_export_strictly(name, ending, carried, tmp_path):
    x, expected, folder = carried(name)
    path = tmp_path / f"back.{ending}"
    convert(folder / "ours", path, to_format="torch-sequential")
    if ending == "pt":
        state = torch.load(path, weights_only=True)
    else:
        state = pytest.importorskip("safetensors.torch").load_file(path)
    made = described(tmp_path / "back.yaml")
    made.load_state_dict(state, strict=True)
    assert_close(output(made, x), expected, 1e-12)
    if name in ("classifier", "causal", "upwards"):  # the same places as in what users wrote
        same = STACKS[name][0]().eval()
        same.load_state_dict(state, strict=True)
        np.testing.assert_array_equal(output(same, x), expected)
        assert str(same) == str(made)


@each_stack
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_our_export_is_read_back_whole(name, ending, carried, tmp_path):
    folder = carried(name)[2]
    convert(folder / "ours", tmp_path / f"back.{ending}", to_format="torch-sequential")
    report = convert(tmp_path / f"back.{ending}", tmp_path / "again")
    assert report.from_format == "torch-sequential"
    spec, weights = read_checkpoint(folder / "ours")
    again, same = read_checkpoint(tmp_path / "again")
    assert again == spec
    assert_same_bits(same, weights)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_types_survive_both_ways(dtype, tmp_path):
    made = stack("classifier").to(getattr(torch, dtype))
    torch.save(made.state_dict(), tmp_path / "net.pt")
    convert(tmp_path / "net.pt", tmp_path / "ours", hints={"spec": STACKS["classifier"][1]})
    convert(tmp_path / "ours", tmp_path / "back.pt", to_format="torch-sequential")
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    for key, tensor in made.state_dict().items():
        assert back[key].dtype == tensor.dtype
        assert torch.equal(back[key], tensor), key


def test_uneven_windows_are_padded_as_ours(tmp_path):
    """What has no counterpart of its own is a pad and a pool, and computes the same."""
    spec = tcnzoo.load_spec(
        chain(
            most=("window_pool", {"mode": "max", "size": 2, "stride": 1, "padding": "same"}),
            mean=("window_pool", {"mode": "average", "size": 4, "padding": "same",
                                  "count_padding": True}),
            up=("conv_transpose1d", {"in_channels": 3, "out_channels": 2, "kernel_size": 3,
                                     "stride": 2, "padding": "same"}),
            pad=("pad", {"left": 2, "right": 1, "mode": "circular"}),
            again=conv(2, 4, 4, padding="same", padding_mode="circular"),
        )
    )  # fmt: skip
    weights, x = weights_of(spec), noise(2, 3, 13)
    write_checkpoint(tmp_path / "ours", spec, weights)
    convert(tmp_path / "ours", tmp_path / "net.pt", to_format="torch-sequential")
    made = described(tmp_path / "net.yaml")
    made.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True), strict=True)
    y = tcnzoo.predict(tcnzoo.create(spec, "numpy", weights=weights, dtype="float64"), x)
    assert_close(output(made, x), y, 1e-12)


def test_a_yaml_of_something_else_is_not_replaced(carried, tmp_path):
    (tmp_path / "net.yaml").write_text("notes: 1")
    with pytest.raises(InputError, match="net.yaml', where the modules .* holds something else"):
        convert(carried("vectors")[2] / "ours", tmp_path / "net.pt", to_format="torch-sequential")
    assert (tmp_path / "net.yaml").read_text() == "notes: 1"
    assert not (tmp_path / "net.pt").exists()


def test_the_yaml_beside_is_a_spec(carried, tmp_path):
    folder = carried("windows")[2]
    convert(folder / "ours", tmp_path / "net.pt", to_format="torch-sequential")
    assert tcnzoo.load_spec(tmp_path / "net.yaml") == read_checkpoint(folder / "ours")[0]
    weights = read_checkpoint(folder / "ours")[1]
    hints = {"spec": str(tmp_path / "net.yaml")}
    convert(folder / "net.pt", tmp_path / "again", hints=hints)
    assert_same_bits(read_checkpoint(tmp_path / "again")[1], weights)
    with pytest.raises(InputError, match="the spec that was given is not the one"):
        convert(tmp_path / "net.pt", tmp_path / "no", hints={"spec": "deepepi"})
