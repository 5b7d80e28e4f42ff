"""State_dicts of TCNs inside models and training checkpoints, and who wrote which."""

import json

import pytest

from tcnzoo.checkpoints.directory import read_checkpoint
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.formats.protocol import convert, detect_format, format_modules, get_format, inspect
from tcnzoo.formats.report import Undetermined
from tests.support.checkpoints import refusal
from tests.support.compare import assert_same_bits

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_tcn")

from safetensors.torch import save_file  # noqa: E402 - needs torch

from tests.support.locuslab_nets import Task, filled, locuslab_net  # noqa: E402
from tests.support.pytorch_tcn_nets import net  # noqa: E402

PLAIN = {"num_inputs": 3, "num_channels": [4, 5], "kernel_size": 3}
HINTS = {"causal": True, "activation": "relu", "output_activation": "none"}


def states():
    """A state_dict of each project's net, and the hints that it needs."""
    return {
        "locuslab-tcn": (locuslab_net().state_dict(), {}),
        "pytorch-tcn": (net(PLAIN).state_dict(), HINTS),
    }


PROJECTS = pytest.mark.parametrize("project", ["locuslab-tcn", "pytorch-tcn"])


def weights_in(document, path, hints, **options):
    """Save a document as .pt and convert it; return (report, neutral weights)."""
    torch.save(document, path)
    report = convert(path, path.with_suffix(""), hints=hints, **options)
    return report, read_checkpoint(path.with_suffix(""))[1]


def trained(state):
    """A training checkpoint as such loops save it, with the state of an optimiser."""
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "epoch": 4,
        "model_state_dict": state,
        "optimizer_state_dict": optimizer.state_dict(),
        "config": "lr: 0.1",
        "losses": [0.5, 0.25],
    }


# Where the net is


@PROJECTS
@pytest.mark.parametrize("prefix", ["", "tcn.", "module.body.tcn.", "network.1.network."])
def test_the_only_prefix_is_taken(project, prefix, tmp_path):
    state, hints = states()[project]
    _, expected = weights_in(state, tmp_path / "plain.pt", hints)
    inside = {prefix + name: tensor for name, tensor in state.items()}
    report, found = weights_in(inside, tmp_path / "inside.pt", hints)
    assert report.from_format == project
    assert set(report.used) | set(report.dropped) == set(inside)
    assert_same_bits(found, expected)


@PROJECTS
def test_a_training_checkpoint_is_opened(project, tmp_path):
    state, hints = states()[project]
    _, expected = weights_in(state, tmp_path / "plain.pt", hints)
    report, found = weights_in(trained(state), tmp_path / "trained.pt", hints)
    assert report.from_format == project
    assert_same_bits(found, expected)
    outside = "outside of 'model_state_dict', which alone is converted"
    assert report.dropped["optimizer_state_dict.state.0.exp_avg"] == outside
    rows = inspect(tmp_path / "trained.pt", hints=hints).tensors
    assert all((row.used_as is None) != (row.dropped is None) for row in rows)
    assert len(rows) == len(state) + 2 * 3


def test_the_rest_of_a_model_is_dropped_with_a_reason(tmp_path):
    body = locuslab_net()
    task = filled(Task(body))
    report, found = weights_in({"state_dict": task.state_dict()}, tmp_path / "task.pt", {})
    _, expected = weights_in(body.state_dict(), tmp_path / "body.pt", {})
    assert_same_bits(found, expected)
    rest = {name for name, reason in report.dropped.items() if reason.startswith("outside of")}
    assert rest == {"state_dict." + name for name in task.state_dict() if "tcn" not in name}


@PROJECTS
def test_one_of_several_nets_is_asked_for(project, tmp_path):
    state, hints = states()[project]
    other = {name: tensor + 1 for name, tensor in state.items()}
    document = {"model": state, "ema": other}
    with pytest.raises(Undetermined) as raised:
        weights_in(document, tmp_path / "two.pt", hints)
    assert str(raised.value).endswith(
        "holds 2 such nets, with the prefixes 'ema', 'model'; choose one, as in: --set prefix=ema"
    )
    found = inspect(tmp_path / "two.pt")
    assert (found.spec, len(found.tensors)) == (None, 2 * len(state))
    for prefix, chosen in (("ema", other), ("model.", state)):
        report, weights = weights_in(document, tmp_path / "two.pt", {**hints, "prefix": prefix})
        assert_same_bits(weights, weights_in(chosen, tmp_path / "one.pt", hints)[1])
        assert len(report.dropped) >= len(state)
        for name in ("two", "one"):
            _clear(tmp_path / name)


def _clear(folder):
    """Remove a checkpoint directory."""
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


@pytest.mark.parametrize(
    "prefix, sentence",
    [("tcm", "no such net with the prefix 'tcm'; did you mean 'tcn'"), ("", "the prefix ''")],
)
def test_a_prefix_that_is_not_there_is_refused(prefix, sentence, tmp_path):
    state = filled(Task(locuslab_net())).state_dict()
    with pytest.raises(InputError, match=sentence):
        weights_in(state, tmp_path / "task.pt", {"prefix": prefix})


def test_the_net_without_a_prefix_may_be_named(tmp_path):
    state = locuslab_net().state_dict()
    both = {**state, **{"ema." + name: tensor for name, tensor in state.items()}}
    torch.save(both, tmp_path / "both.pt")
    report = convert(tmp_path / "both.pt", tmp_path / "ema", hints={"prefix": "ema"})
    assert report.dropped["network.0.conv1.bias"].startswith("outside of 'ema'")
    sentence = "'ema.network.0.conv1.bias' of .* is no part of the net"
    with pytest.raises(WeightError, match=sentence):
        convert(tmp_path / "both.pt", tmp_path / "plain", hints={"prefix": ""})


def test_two_tensors_of_one_dotted_name_are_refused(tmp_path):
    state = locuslab_net().state_dict()
    torch.save({"a": state, "a.network.0.conv1.bias": torch.ones(5)}, tmp_path / "net.pt")
    assert "two tensors that are named 'a.network.0.conv1.bias'" in refusal(tmp_path / "net.pt")


def test_a_document_that_holds_itself_is_opened_once(tmp_path):
    document = {"state_dict": locuslab_net().state_dict()}
    for number in range(50):
        document[f"again{number}"] = document
    report, _ = weights_in(document, tmp_path / "net.pt", {})
    assert report.from_format == "locuslab-tcn"


def test_a_net_that_lies_too_deep_is_not_looked_for(tmp_path):
    document = locuslab_net().state_dict()
    for _ in range(10):
        document = {"more": document}
    torch.save(document, tmp_path / "net.pt")
    assert "must hold a state_dict, but 'more' is dict" in refusal(tmp_path / "net.pt")


@pytest.mark.parametrize("name", ["locuslab-tcn", "pytorch-tcn"])
@pytest.mark.parametrize("document", [{"epoch": 3}, [torch.ones(2)], {}])
def test_a_document_without_tensors_is_refused(name, document, tmp_path):
    torch.save(document, tmp_path / "net.pt")
    assert "must hold a state_dict, but" in refusal(tmp_path / "net.pt", name)


def test_a_state_dict_of_another_format_of_ours_is_refused(tmp_path):
    state, hints = states()["pytorch-tcn"]
    weights_in(state, tmp_path / "net.pt", hints)
    convert(tmp_path / "net", tmp_path / "torch.pt")
    sentence = refusal(tmp_path / "torch.pt", "pytorch-tcn")
    assert sentence.endswith("says that it is of format 'torch', not 'pytorch-tcn'")


# Who wrote it


def detected(path):
    """Names of the formats that take a file for theirs."""
    return {name for name in format_modules() if get_format(name).detect(path)}


def plain_names(state):
    """A state_dict without what says who wrote it: second names, buffers, new weight norm."""
    return {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor.clone()
        for name, tensor in state.items()
        if "buffer" not in name and ".net." not in name
    }


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@PROJECTS
@pytest.mark.parametrize("norm", ["weight_norm", "batch_norm", None])
def test_names_say_who_wrote_a_file(norm, project, suffix, tmp_path):
    if project == "locuslab-tcn":
        state = locuslab_net(kind="new" if norm else "none").state_dict()
    else:
        state = net({**PLAIN, "use_norm": norm}).state_dict()
    path = tmp_path / f"net.{suffix}"
    save = torch.save if suffix == "pt" else save_file
    save({name: tensor.clone() for name, tensor in state.items()}, path)
    assert detected(path) == {project}
    assert convert(path, tmp_path / "ours", hints=HINTS).from_format == project


def test_a_file_that_does_not_say_who_wrote_it_is_not_guessed(tmp_path):
    state = plain_names(net(PLAIN).state_dict())
    torch.save(state, tmp_path / "net.pt")
    assert detected(tmp_path / "net.pt") == {"locuslab-tcn", "pytorch-tcn"}
    sentence = "does not say whether it is pytorch-tcn or locuslab-tcn; name its format"
    with pytest.raises(InputError, match=sentence):
        detect_format(tmp_path / "net.pt")
    report = convert(tmp_path / "net.pt", tmp_path / "bai", from_format="locuslab-tcn")
    hints = {**HINTS, "dilations": [1, 2]}
    other = convert(tmp_path / "net.pt", tmp_path / "krug", from_format="pytorch-tcn", hints=hints)
    assert report.spec.dilation_of == other.spec.dilation_of


def test_a_transposed_kernel_is_not_guessed(tmp_path):
    state = {
        "network.0.conv1.weight": torch.ones(4, 3, 3),
        "network.0.conv1.bias": torch.ones(4),
        "network.0.conv2.weight": torch.ones(4, 4, 3),
        "network.0.conv2.bias": torch.ones(4),
    }
    save_file(state, tmp_path / "net.safetensors")
    assert detected(tmp_path / "net.safetensors") == {"locuslab-tcn", "pytorch-tcn", "mlx-tcn"}


@pytest.mark.parametrize("name", ["locuslab-tcn", "pytorch-tcn", "mlx-tcn", "torch", "mlx"])
def test_files_of_ours_are_of_one_format(name, tmp_path):
    weights_in(locuslab_net().state_dict(), tmp_path / "net.pt", {})
    suffixes = get_format(name).SUFFIXES
    for suffix in suffixes:
        convert(tmp_path / "net", tmp_path / f"ours{suffix}", to_format=name, overwrite=True)
        assert detected(tmp_path / f"ours{suffix}") == {name}


@PROJECTS
def test_a_file_of_ours_with_the_spec_of_something_else_is_refused(project, tmp_path):
    report, _ = weights_in(locuslab_net().state_dict(), tmp_path / "net.pt", {})
    convert(tmp_path / "net", tmp_path / "ours.pt", to_format=project)
    state = torch.load(tmp_path / "ours.pt", weights_only=True)
    other = {"format": "tcnzoo", "version": 1, "spec": {"kind": "activation", "name": "relu"}}
    state._metadata[""]["config"] = json.dumps(other)
    torch.save(state, tmp_path / "other.pt")
    sentence = refusal(tmp_path / "other.pt", kind=SpecError)
    assert sentence.endswith("holds a single model of kind 'tcn', but this is a activation")
