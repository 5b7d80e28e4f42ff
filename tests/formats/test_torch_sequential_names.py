"""Names in the files of torch-sequential, what is asked, and what is refused."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.formats.protocol import convert, inspect
from tcnzoo.formats.report import Undetermined
from tests.support.checkpoints import refusal
from tests.support.compare import assert_same_bits, weights_of
from tests.support.torch_stacks import STACKS, chain, conv, dense, stack

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.fixture
def saved(tmp_path):
    """Save a stack and convert it: (its file, the weights that it gives)."""

    def save(name):
        path = tmp_path / f"{name}.pt"
        torch.save(stack(name).state_dict(), path)
        convert(path, tmp_path / name, hints={"spec": STACKS[name][1]})
        return path, read_checkpoint(tmp_path / name)[1]

    return save


def weights_in(state, tmp_path, **hints):
    """Weights that a file gives with the spec of the classifier."""
    torch.save(state, tmp_path / "other.pt")
    hints = {"spec": STACKS["classifier"][1], **hints}
    report = convert(
        tmp_path / "other.pt",
        tmp_path / "other",
        from_format="torch-sequential",
        hints=hints,
        overwrite=True,
    )
    return read_checkpoint(tmp_path / "other")[1], report


def test_a_part_of_a_model_in_a_training_checkpoint(saved, tmp_path):
    expected = saved("classifier")[1]
    model = nn.ModuleDict({"net": stack("classifier")})
    optimiser = torch.optim.Adam(model.parameters())
    state = {"model_state_dict": model.state_dict(), "optimizer": optimiser.state_dict(), "step": 3}
    weights, report = weights_in(state, tmp_path)
    assert_same_bits(weights, expected)
    assert "model_state_dict.net.9.weight" in report.used


def test_prefixes_in_the_order_of_the_hint(saved, tmp_path):
    expected = saved("classifier")[1]
    made = stack("classifier")
    state = nn.ModuleDict({"head": made[9:], "features": made[:9], "other": nn.Linear(2, 3)})
    with pytest.raises(Undetermined, match="2 prefixes; .* --set prefix=head,features"):
        weights_in(state.state_dict(), tmp_path)
    weights, report = weights_in(state.state_dict(), tmp_path, prefix="features,head")
    assert_same_bits(weights, expected)
    assert report.dropped["other.bias"] == "outside of features and head, which alone is converted"
    with pytest.raises(InputError, match="no layers behind the prefix 'haed'; did you mean 'head'"):
        weights_in(state.state_dict(), tmp_path, prefix=["features", "haed"])


def test_older_names_of_weight_norm(saved, tmp_path):
    state = stack("upwards").state_dict()
    older = {
        key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for key, tensor in state.items()
    }
    assert older.keys() != state.keys()
    weights = weights_in(older, tmp_path, spec=STACKS["upwards"][1])[0]
    assert_same_bits(weights, saved("upwards")[1])


def test_more_than_ten_layers_are_in_order_of_their_numbers(tmp_path):
    made = nn.Sequential(*(nn.Linear(2, 2) for _ in range(12)))
    spec = chain(**{f"layer{place}": dense(2, 2) for place in range(12)})
    weights = weights_in(dict(sorted(made.state_dict().items())), tmp_path, spec=spec)[0]
    np.testing.assert_array_equal(weights["layer10.weight"], made[10].weight.detach())


def test_without_a_spec_the_layers_are_named(saved):
    path = saved("classifier")[0]
    with pytest.raises(Undetermined, match="5 layers of an nn.Sequential .* --set spec="):
        convert(path, path.parent / "no")
    found = inspect(path)
    assert found.format == "torch-sequential"
    assert found.known == {
        "0": "Conv1d(3, 5, 4)", "1": "BatchNorm1d(5)", "4": "Conv1d(5, 7, 3)",
        "5": "BatchNorm1d(7)", "9": "Linear(7, 2)",
    }  # fmt: skip
    found = inspect(saved("upwards")[0])
    assert found.known["0"] == "weight_norm(Conv1d(3, 8, 3))"


def test_files_of_others_are_not_taken_for_it(tmp_path):
    """Names that are not all of an nn.Sequential, and MLX's, whose axes are in another order."""
    torch.save({"0.weight": torch.ones(2, 3), "fc.weight": torch.ones(3)}, tmp_path / "mixed.pt")
    with pytest.raises(InputError, match="not recognised"):
        inspect(tmp_path / "mixed.pt")
    save_file = pytest.importorskip("safetensors.torch").save_file
    save_file({"layers.0.weight": torch.ones(2, 2)}, tmp_path / "mlx.safetensors")
    with pytest.raises(InputError, match="not recognised"):
        inspect(tmp_path / "mlx.safetensors")
    save_file({"net.0.weight": torch.ones(2, 2)}, tmp_path / "torch.safetensors")
    assert inspect(tmp_path / "torch.safetensors").format == "torch-sequential"


# Files and specs that do not go together


def refused(tmp_path, error, sentence, change=lambda state: None, spec="classifier"):
    """Hold that the classifier's file, changed, is refused with a spec."""
    state = stack("classifier").state_dict()
    change(state)
    spec = STACKS[spec][1] if isinstance(spec, str) else spec
    with pytest.raises(error, match=sentence):
        weights_in(state, tmp_path, spec=spec)
    assert not (tmp_path / "other").exists()


def test_another_number_of_layers_is_refused(tmp_path):
    def without_head(state):
        del state["9.weight"], state["9.bias"]

    refused(tmp_path, WeightError, "holds 4 layers with tensors .* spec has 5", without_head)


def test_another_kind_of_layer_is_refused(tmp_path):
    sentence = "'1' of .* has .*running_mean.*, but the next layer of the spec, Conv1d.4, 5, 3"
    spec = chain(a=conv(3, 4, 4), b=conv(4, 5, 3))
    refused(tmp_path, WeightError, sentence, spec=spec)


def test_another_shape_is_refused(tmp_path):
    sentence = "'second.weight' must have shape .7, 5, 3. .*, but has .7, 5, 2."
    change = {"4.weight": torch.ones(7, 5, 2)}
    refused(tmp_path, WeightError, sentence, lambda state: state.update(change))


def test_a_tensor_of_no_layer_is_refused(tmp_path):
    sentence = "tensor '11.weight_ih_l0' of .* is none of"
    change = {"11.weight_ih_l0": torch.ones(2)}
    refused(tmp_path, WeightError, sentence, lambda state: state.update(change))


@pytest.mark.parametrize(
    "spec, sentence",
    [
        ("tcn-base", "'tcn' is a tcn|is a chain of plain layers"),
        (chain(a=conv(3, 4, 2), b=dense(4, 2)), "'b' does: .*channels of every step"),
        (chain(a=conv(3, 4, 2), b=("layer_norm", {"channels": 4})), "over the time axis"),
        (chain(a=conv(3, 4, 2, padding="same_upper", stride=2)), "depends on the length"),
        (chain(a=conv(3, 4, 2), b=("pool", {"mode": "last"})), "no pool 'last'"),
        (chain(a=conv(3, 4, 2), b=("flatten", {"length": 5, "order": "time"})), "order is 'time'"),
        (
            chain(a=conv(3, 4, 2), b=("window_pool", {"mode": "average", "size": 2,
                                                      "padding": "same"})),
            "pads unevenly",
        ),
        (chain(a=("squeeze_excitation", {"channels": 4})), "'a' is a squeeze_excitation"),
    ],
)  # fmt: skip
def test_a_model_that_no_sequential_is_is_refused_both_ways(spec, sentence, tmp_path):
    refused(tmp_path, SpecError, sentence, spec=tcnzoo.load_spec(spec).model_dump(mode="json"))
    spec = tcnzoo.load_spec(spec)
    write_checkpoint(tmp_path / "ours", spec, weights_of(spec))
    with pytest.raises(SpecError, match=sentence):
        convert(tmp_path / "ours", tmp_path / "net.pt", to_format="torch-sequential")
    assert not list(tmp_path.glob("net.*"))


def test_a_bare_pickle_is_not_run(tmp_path):
    torch.save(
        {"0.weight": torch.ones(2)}, tmp_path / "net.pt", _use_new_zipfile_serialization=False
    )
    assert "bare pickle" in refusal(tmp_path / "net.pt", "torch-sequential")
