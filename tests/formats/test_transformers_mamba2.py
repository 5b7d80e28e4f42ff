"""Mamba-2 of transformers in and out: stacks, mixers, configurations, and its own outputs."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.formats.protocol import convert, inspect
from tcnzoo.formats.report import Undetermined
from tests.support.checkpoints import refusal
from tests.support.compare import assert_close, assert_same_bits, noise, weights_of
from tests.support.mamba_files import spec_of, stack, written

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("fields", [{}, {"groups": 2, "dt_limit": [0.02, 0.5]}, {"bias": True}])
@pytest.mark.parametrize("whole", [False, True], ids=["mixer", "stack"])
def test_directories_come_back_without_hints(whole, fields, tmp_path):
    spec = stack(3, **fields) if whole else spec_of(**fields)
    path = written(tmp_path, spec, "transformers-mamba2")
    report = convert(path, tmp_path / "again")
    assert (report.from_format, report.spec) == ("transformers-mamba2", spec)
    assert report.assumed == ({"grouped_norm": True} if fields.get("groups") else {})
    reason = "embeddings of tokens, where the model here takes a signal"
    assert report.dropped == ({"backbone.embeddings.weight": reason} if whole else {})
    assert_same_bits(read_checkpoint(tmp_path / "again")[1], weights_of(spec))


def test_a_layer_is_taken_out(tmp_path):
    spec = stack(3, groups=2)
    path = written(tmp_path, spec, "transformers-mamba2")
    report = convert(path, tmp_path / "one", hints={"layer": "1"})
    assert report.spec == spec_of(groups=2)
    assert report.used["backbone.layers.1.mixer.D"] == "D"
    reason = "outside of layer 1, which alone is converted"
    assert report.dropped["backbone.layers.0.mixer.D"] == reason
    assert len(report.used) + len(report.dropped) == len(load_file(path / "model.safetensors"))
    for layer in (3, -1, "x", True):
        with pytest.raises(InputError, match="layer must be one of 0 to 2"):
            convert(path, tmp_path / "no", hints={"layer": layer})


def test_a_stack_without_configuration_is_asked_for_groups(tmp_path):
    path = written(tmp_path, stack(2, groups=2), "transformers-mamba2") / "model.safetensors"
    (tmp_path / "alone").mkdir()
    alone = path.rename(tmp_path / "alone" / "stack.safetensors")
    assert inspect(alone).missing.endswith("--set groups=1")
    report = convert(alone, tmp_path / "ours", hints={"groups": 2})
    assert (report.from_format, report.spec) == ("transformers-mamba2", stack(2, groups=2))
    assumed = {"dt_limit": (0.0, None), "norm_eps": 1e-5, "grouped_norm": True}
    assert report.assumed == assumed


@pytest.mark.parametrize("number", ["2", "999999999", "9" * 5000])
def test_layers_with_gaps_are_refused(number, tmp_path):
    path = written(tmp_path, stack(2), "transformers-mamba2") / "model.safetensors"
    held = load_file(path)
    for name in [name for name in held if ".layers.1." in name]:
        held[name.replace(".1.", f".{number}.")] = held.pop(name)
    save_file(held, path)
    sentence = refusal(path.parent)
    numbered = "the layers of a stack are numbered from 0, but these are 0, " + number
    assert sentence == numbered if len(number) < 10 else "is no part of the net" in sentence


def test_a_stack_of_nobody_is_asked_for_its_format(tmp_path):
    held = {f"layers.0.mixer.{name}": array for name, array in weights_of(spec_of()).items()}
    held["layers.0.norm.weight"] = np.ones(6, np.float32)
    save_file(held, tmp_path / "net.safetensors")
    with pytest.raises(InputError, match="whether it is mamba-ssm or transformers-mamba2"):
        convert(tmp_path / "net.safetensors", tmp_path / "ours")
    hints = {"groups": 1}
    path = tmp_path / "net.safetensors"
    report = convert(path, tmp_path / "a", from_format="transformers-mamba2", hints=hints)
    assert report.spec == stack(1, final=False)
    report = convert(path, tmp_path / "b", from_format="mamba-ssm", hints=hints)
    assert report.spec == spec_of()


@pytest.mark.parametrize("text", ['{"__float__": "Infinity"}', "Infinity"])
def test_configurations_of_both_versions_are_read(text, tmp_path):
    path = written(tmp_path, spec_of(dt_limit=[0.25, None]), "transformers-mamba2")
    found = (path / "config.json").read_text()
    assert "Infinity" in found
    (path / "config.json").write_text(found.replace("Infinity", text))
    assert convert(path, tmp_path / "again").spec.dt_limit == (0.25, None)


def test_what_a_configuration_leaves_out_is_assumed(tmp_path):
    path = written(tmp_path, spec_of(groups=2, d_state=8, head_dim=1), "transformers-mamba2")
    config = json.loads((path / "config.json").read_text())
    short = {name: config[name] for name in ("model_type", "hidden_size")}
    (path / "config.json").write_text(json.dumps(short))
    with pytest.raises(InputError, match="groups must divide the 12 heads and the 16 rows of B"):
        convert(path, tmp_path / "again")  # transformers has 8 groups by default
    (path / "config.json").write_text(json.dumps({**short, "n_groups": 2}))
    report = convert(path, tmp_path / "again")
    assert report.spec.groups == 2
    assert report.assumed["norm_eps"] == 1e-5
    assert "groups" not in report.assumed


@pytest.mark.parametrize(
    "change, kind, part",
    [
        ({"model_type": "mamba"}, InputError, "must be the configuration of a model of type"),
        ({"head_dim": 4}, WeightError, "says head_dim=4, but the tensors '*' have 3"),
        ({"state_size": 7}, WeightError, "says groups * d_state=7, but the tensors '*' have 5"),
        ({"hidden_act": "gelu"}, SpecError, "must be silu, which a mamba2 has, but is 'gelu'"),
        ({"layer_norm_epsilon": -1.0}, SpecError, "norm_eps"),
        ({"time_step_limit": 3}, SpecError, "dt_limit"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(change, kind, part, tmp_path):
    path = written(tmp_path, spec_of(), "transformers-mamba2")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **change}))
    assert part in refusal(path, "transformers-mamba2", kind)


@pytest.mark.parametrize(
    "groups, version, asked",
    [(2, "4.44.0.dev0", True), (1, "4.57.1", False), (2, "5.23.0", False), (2, None, False)],
)
def test_models_of_version_4_ask_for_the_norm(groups, version, asked, tmp_path):
    path = written(tmp_path, stack(2, groups=groups), "transformers-mamba2")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "transformers_version": version}))
    if asked:
        with pytest.raises(Undetermined, match="transformers 4.44.0.dev0, which norms all"):
            convert(path, tmp_path / "ours")
    hints = {"grouped_norm": "false"} if asked else {}
    spec = convert(path, tmp_path / "ours", hints=hints).spec
    assert spec == stack(2, groups=groups, **({"grouped_norm": False} if asked else {}))


def test_hints_do_not_contradict_a_configuration(tmp_path):
    path = written(tmp_path, spec_of(groups=2), "transformers-mamba2")
    with pytest.raises(InputError, match="the hint groups=1 contradicts"):
        convert(path, tmp_path / "ours", hints={"groups": 1})
    spec = convert(path, tmp_path / "ours", hints={"grouped_norm": False}).spec
    assert spec == spec_of(groups=2, grouped_norm=False)


@pytest.mark.parametrize(
    "fields, part",
    [
        ({"d_ssm": 9}, "d_ssm must be expand * channels, 12, but is 9"),
        ({"d_per_channel": True}, "d_per_channel must be false"),
        ({"rms_norm": False}, "rms_norm must be true"),
        ({"norm_before_gate": True}, "norm_before_gate must be false"),
        ({"groups": 4, "grouped_norm": False}, "grouped_norm must be true"),
    ],
)
def test_transformers_cannot_hold(fields, part, tmp_path):
    spec = spec_of(**fields)
    write_checkpoint(tmp_path / "start", spec, weights_of(spec))
    with pytest.raises(SpecError) as caught:
        convert(tmp_path / "start", tmp_path / "net", to_format="transformers-mamba2")
    assert str(caught.value) == f"transformers-mamba2 cannot hold this model: {part}"
    assert not (tmp_path / "net").exists()


def test_graphs_of_another_kind_are_refused(tmp_path):
    uneven = tcnzoo.load_spec(stack(2), **{"nodes.mamba2.layer.d_conv": 3})
    for spec, part in ((stack(1, final=False), "this graph is neither"), (uneven, "these differ")):
        write_checkpoint(tmp_path / "start", spec, weights_of(spec), overwrite=True)
        with pytest.raises(SpecError, match=part):
            convert(tmp_path / "start", tmp_path / "net", to_format="transformers-mamba2")
        assert not (tmp_path / "net").exists()


# Against transformers itself


@pytest.fixture
def nets():
    return pytest.importorskip("tests.support.mamba_nets", exc_type=ImportError)


@pytest.mark.parametrize("fields", [{}, {"n_groups": 3, "time_step_limit": (0.02, 0.06)}])
def test_a_stack_gives_the_output_of_transformers(nets, fields, tmp_path):
    made = nets.model(**fields, layer_norm_epsilon=0.01)
    path = nets.saved(made, tmp_path / "theirs")
    report = convert(path, tmp_path / "ours")
    assert set(report.used) | set(report.dropped) == set(made.state_dict())
    x = noise(2, 12, 19)
    y = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy", dtype="float64"), x)
    assert_close(y, nets.output(made, x), 2e-6)  # float32 there: measured 4e-7


def test_transformers_loads_our_stack_whole(nets, tmp_path):
    path = nets.saved(nets.model(n_groups=2), tmp_path / "theirs")
    convert(path, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "back", to_format="transformers-mamba2")
    back, wrong = nets.loaded(tmp_path / "back")
    assert not wrong
    x = noise(2, 12, 19)
    y = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "numpy", dtype="float64"), x)
    assert_close(nets.output(back, x), y, 2e-6)


@pytest.mark.parametrize("to_format", ["mamba-ssm", "transformers-mamba2"])
def test_a_mixer_loads_our_file_strictly(nets, to_format, tmp_path):
    fields = {"use_bias": True, "n_groups": 2, "state_size": 5}
    made = nets.mixer(**fields)
    torch.save(made.state_dict(), tmp_path / "mixer.pt")
    convert(tmp_path / "mixer.pt", tmp_path / "ours", hints=nets.hints_for(**fields))
    path = tmp_path / ("net.safetensors" if to_format == "mamba-ssm" else "net")
    convert(tmp_path / "ours", path, to_format=to_format)
    held = load_file(path / "model.safetensors" if path.is_dir() else path)
    back = nets.mixer(seed=1, **fields)
    back.load_state_dict({name: torch.from_numpy(array) for name, array in held.items()})
    x = noise(2, 12, 19)
    assert np.array_equal(nets.output(back, x), nets.output(made, x))


def test_mlx_lm_loads_our_stack_strictly(tmp_path):
    mx = pytest.importorskip("mlx.core")
    peers = pytest.importorskip("mlx_lm.models.mamba2")
    path = written(tmp_path, stack(2), "transformers-mamba2")
    arguments = json.loads((path / "config.json").read_text())
    made = peers.Model(peers.ModelArgs.from_dict(arguments))
    held = mx.load(str(path / "model.safetensors"))
    made.load_weights(list(made.sanitize(held).items()), strict=True)
    x = noise(2, 6, 11)
    hidden = mx.array(np.swapaxes(x, 1, 2).astype(np.float32))
    for layer in made.backbone.layers:
        hidden = layer(hidden, None)
    y = np.swapaxes(np.array(made.backbone.norm_f(hidden)), 1, 2)
    convert(path, tmp_path / "ours")
    ours = tcnzoo.load(tmp_path / "ours", "numpy", dtype="float64")
    assert_close(y, tcnzoo.predict(ours, x))


def test_a_configuration_of_more_layers_than_the_tensors_is_refused(tmp_path):
    path = written(tmp_path, stack(2), "transformers-mamba2")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    assert "says num_hidden_layers=3, but the tensors are those of 2 layers" in refusal(path)


def test_a_norm_at_the_end_that_is_not_there_is_named(tmp_path):
    path = written(tmp_path, stack(2), "transformers-mamba2") / "model.safetensors"
    held = {name: one for name, one in load_file(path).items() if "norm_f" not in name}
    save_file(held, path)
    report = convert(path.parent, tmp_path / "ours")
    assert report.assumed == {"final_norm": False}
    assert report.spec == stack(2, final=False)


def saved_by_mlx_lm(folder, **fields):
    """A stack that mlx-lm loaded and saved in its own way: its output, and the directory."""
    mx = pytest.importorskip("mlx.core")
    peers = pytest.importorskip("mlx_lm.models.mamba2")
    save = pytest.importorskip("mlx_lm.utils").save_model
    eps = fields.pop("eps", 1e-5)
    path = written(folder, stack(2, **fields), "transformers-mamba2")
    config = json.loads((path / "config.json").read_text()) | {"layer_norm_epsilon": eps}
    made = peers.Model(peers.ModelArgs.from_dict(config))
    held = mx.load(str(path / "model.safetensors"))
    made.load_weights(list(made.sanitize(held).items()), strict=True)
    target = folder / "mlx"
    save(target, made)
    (target / "config.json").write_text(json.dumps(config))
    hidden = mx.array(np.swapaxes(noise(2, 6, 11), 1, 2).astype(np.float32))
    for layer in made.backbone.layers:
        hidden = layer(hidden, None)
    return np.swapaxes(np.array(made.backbone.norm_f(hidden)), 1, 2), target


@pytest.mark.parametrize(
    "fields, hints",
    [
        ({}, {}),
        ({"d_conv": 1}, {}),
        ({"groups": 2}, {"grouped_norm": "false"}),
        ({"eps": 0.3}, {"block_norm_eps": "1.0e-5"}),
        ({"groups": 2, "eps": 0.3}, {"grouped_norm": False, "block_norm_eps": 1e-5}),
    ],
    ids=["plain", "one-tap", "groups", "eps", "both"],
)
def test_what_mlx_lm_saved_is_read(fields, hints, tmp_path):
    """Convolutions are (channels, K, 1) there; what mlx-lm computes otherwise is asked for."""
    y, path = saved_by_mlx_lm(tmp_path, **fields)
    if fields.get("d_conv") != 1:
        kernel = load_file(path / "model.safetensors")["backbone.layers.0.mixer.conv1d.weight"]
        assert kernel.shape[1:] == (4, 1)
    if hints:
        sentence = refusal(path, kind=InputError)
        assert all(f"--set {name}=" in sentence for name in hints)
        assert all(row.used_as or row.dropped for row in inspect(path, hints=hints).tensors)
    report = convert(path, tmp_path / "ours", hints=hints)
    assert report.from_format == "transformers-mamba2"
    ours = tcnzoo.load(tmp_path / "ours", "numpy", dtype="float64")
    assert_close(y, tcnzoo.predict(ours, noise(2, 6, 11)))


def test_the_tensors_of_mlx_lm_alone_are_read_by_their_form(tmp_path):
    mx = pytest.importorskip("mlx.core")
    y, path = saved_by_mlx_lm(tmp_path)
    held = mx.load(str(path / "model.safetensors"))
    mx.save_safetensors(str(tmp_path / "net.safetensors"), held)
    convert(tmp_path / "net.safetensors", tmp_path / "ours")
    ours = tcnzoo.load(tmp_path / "ours", "numpy", dtype="float64")
    assert_close(y, tcnzoo.predict(ours, noise(2, 6, 11)))


def test_kernels_over_several_channels_are_refused(tmp_path):
    path = written(tmp_path, spec_of(), "mamba-ssm", "net.safetensors")
    held = load_file(path)
    held["conv1d.weight"] = held["conv1d.weight"].swapaxes(1, 2).copy()
    save_file(held, path)
    sentence = refusal(path, "mamba-ssm", WeightError)
    assert (
        "must be (channels, 1, K), but has shape (22, 4, 1) (channels last, as mlx-lm" in sentence
    )


@pytest.mark.parametrize("key", ["state_size", "n_groups"])
@pytest.mark.parametrize("value", [None, "3", 2.0, [1], "a\u2028b"])
def test_a_size_that_is_no_whole_number_is_refused(key, value, tmp_path):
    path = written(tmp_path, stack(2), "transformers-mamba2")
    config = json.loads((path / "config.json").read_text("utf-8"))
    (path / "config.json").write_text(json.dumps(config | {key: value}), "utf-8")
    assert f"{key!r} in" in refusal(path, kind=SpecError)


def test_a_pipe_in_the_place_of_the_configuration_is_not_read(tmp_path):
    path = written(tmp_path, stack(2), "transformers-mamba2")
    (path / "config.json").unlink()
    os.mkfifo(path / "config.json")
    assert "config.json is not there" in refusal(path, kind=InputError)
