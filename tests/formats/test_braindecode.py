"""Nets of braindecode, both ways, against braindecode itself."""

import importlib
import json
import re

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.weights_convert.braindecode.nets import NETS as KNOWN
from tcnzoo.weights_convert.braindecode.nets.limits import ColumnLimit, RowLimit
from tests.support.braindecode_nets import braindecode_models

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter 'final_layer:DeprecationWarning"),  # of EEGNet
    pytest.mark.filterwarnings("ignore:Using padding='same'"),  # of torch, in EEGNeX
]
# float32 on both sides: as everywhere, 1e-5 of the largest output.
TOLERANCE = 1e-5
ACTIVATION = "torch.nn.modules.activation."
SMALL = {"n_chans": 3, "n_outputs": 2}

NETS = {
    "BDTCN": ("BDTCN", {**SMALL, "n_filters": 5, "n_blocks": 2, "kernel_size": 3}, 40),
    "BDTCN-same-width": ("BDTCN", {**SMALL, "n_filters": 3, "activation": "ELU"}, 64),
    "EEGTCNet": ("EEGTCNet", {**SMALL, "n_times": 200, "kern_length": 16, "filter_1": 4}, 200),
    "EEGTCNet-without-norm": (
        "EEGTCNet",
        {**SMALL, "n_times": 160, "kern_length": 9, "filter_1": 3, "filters": 6,
         "tcn_batch_norm": False, "drop_prob_tcn": 0.3, "max_norm_const": 0.4},
        160,
    ),
    "ShallowFBCSPNet": (
        "ShallowFBCSPNet",
        {**SMALL, "n_times": 130, "n_filters_time": 4, "n_filters_spat": 5, "pool_time_length": 30,
         "filter_time_length": 11, "pool_time_stride": 7},
        130,
    ),
    "ShallowFBCSPNet-dense": (
        "ShallowFBCSPNet",
        {**SMALL, "n_times": 150, "n_filters_time": 4, "n_filters_spat": 5, "batch_norm": False,
         "final_conv_length": 3, "pool_mode": "max", "pool_time_stride": 9},
        150,
    ),
    "Deep4Net": (
        "Deep4Net",
        {**SMALL, "n_times": 460, "n_filters_time": 4, "n_filters_spat": 5, "n_filters_2": 6,
         "n_filters_3": 7, "n_filters_4": 8},
        460,
    ),
    "Deep4Net-strided": (
        "Deep4Net",
        {**SMALL, "n_times": 300, "n_filters_time": 4, "n_filters_spat": 5, "n_filters_2": 6,
         "n_filters_3": 7, "n_filters_4": 8, "filter_length_2": 3, "filter_length_3": 2,
         "filter_length_4": 2, "pool_time_stride": 2, "stride_before_pool": True,
         "first_pool_mode": "mean", "later_pool_nonlin": "Tanh"},
        300,
    ),
    "EEGNet": ("EEGNet", {**SMALL, "n_times": 130, "kernel_length": 16, "F1": 3}, 130),
    "EEGNet-constrained": (
        "EEGNet",
        {**SMALL, "n_times": 131, "kernel_length": 15, "F1": 3, "F2": 4, "pool_mode": "max",
         "final_layer_with_constraint": True, "depthwise_kernel_length": 7,
         "conv_spatial_max_norm": 0.7},
        131,
    ),
    "EEGNeX": (
        "EEGNeX",
        {**SMALL, "n_times": 130, "kernel_block_1_2": 10, "filter_1": 3, "filter_2": 4},
        130,
    ),
    "SPARCNet": (
        "SPARCNet", {**SMALL, "n_times": 70, "growth_rate": 3, "bottleneck_size": 2,
                     "block_layers": 2}, 70,
    ),
    "SPARCNet-plain": (
        "SPARCNet", {**SMALL, "n_times": 40, "growth_rate": 3, "bottleneck_size": 2,
                     "block_layers": 1, "batch_norm": False, "conv_bias": False}, 40,
    ),
}  # fmt: skip


def own_modules():
    """The module `braindecode.modules`."""
    braindecode_models()
    return importlib.import_module("braindecode.modules")


def in_torch(config):
    """Arguments with classes for the names of activations."""
    own = own_modules()
    return {
        name: getattr(torch.nn, value.rpartition(".")[2], None)
        or getattr(own, value.rpartition(".")[2])
        if isinstance(value, str) and (value in ("ELU", "Tanh") or "." in value)
        else value
        for name, value in config.items()
    }


def net_of(name, config):
    """A net of braindecode in evaluation mode, its weights and statistics drawn at random."""
    net = getattr(braindecode_models(), name)(**in_torch(config)).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for key, tensor in net.state_dict().items():
            if key.endswith("running_var") or key.endswith("original0"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.is_floating_point():
                scale = 0.7 if tensor.ndim > 1 else 0.3
                tensor.copy_(scale * torch.randn(tensor.shape, generator=generator))
    return net


def documented(config):
    """A configuration as JSON, in which a class is a path."""
    return {
        name: f"{ACTIVATION}{value}" if value in ("ELU", "Tanh") else value
        for name, value in config.items()
    }


def saved(net, config, folder):
    """A hub folder of a net."""
    from safetensors.torch import save_file

    folder.mkdir()
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(documented(config)), "utf-8")
    return folder


def signal(config, length):
    return np.random.default_rng(3).standard_normal((2, config["n_chans"], length), np.float32)


def apart(ours, theirs):
    return np.abs(ours - theirs).max() / max(1e-6, np.abs(theirs).max())


@pytest.mark.parametrize("case", NETS)
def test_outputs_are_those_of_braindecode_both_ways(case, tmp_path):
    name, config, length = NETS[case]
    net, x = net_of(name, config), signal(config, length)
    with torch.no_grad():
        theirs = net(torch.from_numpy(x)).numpy()
    report = tcnzoo.convert(saved(net, config, tmp_path / "theirs"), tmp_path / "ours")
    assert report.from_format == "braindecode"
    assert set(report.used) | set(report.dropped) == set(net.state_dict())
    assert all(key.endswith("num_batches_tracked") for key in report.dropped)
    model = tcnzoo.load(tmp_path / "ours", "torch")
    assert apart(tcnzoo.predict(model, x), theirs) < TOLERANCE

    tcnzoo.convert(tmp_path / "ours", tmp_path / "back", to_format="braindecode")
    written = json.loads((tmp_path / "back" / "config.json").read_text("utf-8"))
    again = loaded(name, written, tmp_path / "back")
    with torch.no_grad():
        assert apart(again(torch.from_numpy(x)).numpy(), theirs) < TOLERANCE


def loaded(name, config, folder):
    """A net of braindecode that has loaded a folder strictly."""
    from safetensors.torch import load_file

    net = getattr(braindecode_models(), name)(**in_torch(config)).eval()
    net.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    return net


# --- State_dicts without a configuration ----------------------------------------------------------


def state_of(net, folder, prefix="", name="net.pt"):
    tensors = {prefix + key: tensor for key, tensor in net.state_dict().items()}
    torch.save(tensors, folder / name)
    return folder / name


def run(net, x):
    with torch.no_grad():
        return net(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("prefix", ["", "model.", "module_.net."])
def test_a_bdtcn_says_itself_what_it_is(prefix, tmp_path):
    config = {**SMALL, "n_filters": 5, "n_blocks": 2, "kernel_size": 3}
    net, x = net_of("BDTCN", config), signal(config, 31)
    report = tcnzoo.convert(state_of(net, tmp_path, prefix), tmp_path / "ours")
    assert report.from_format == "braindecode"
    assert report.assumed == {"activation": "ReLU", "drop_prob": 0.5}
    assert not report.dropped
    assert apart(tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "torch"), x), run(net, x)) < (
        TOLERANCE
    )


def test_the_tcn_of_braindecode_gives_a_signal_and_goes_back(tmp_path):
    config = {**SMALL, "n_filters": 4, "n_blocks": 3, "kernel_size": 2}
    net, x = net_of("TCN", config), signal(config, 29)
    tcnzoo.convert(state_of(net, tmp_path), tmp_path / "ours")
    ours = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "torch"), x)
    assert ours.shape == (2, 2, 29 - 2 * 7)
    assert apart(ours, run(net, x)) < TOLERANCE
    tcnzoo.convert(tmp_path / "ours", tmp_path / "back", to_format="braindecode")
    written = json.loads((tmp_path / "back" / "config.json").read_text("utf-8"))
    assert apart(run(loaded("TCN", written, tmp_path / "back"), x), ours) < TOLERANCE


def test_the_count_is_that_of_the_field_notes():
    # BDTCN(n_chans=21, n_outputs=2) of braindecode 1.8.1.
    net = braindecode_models().BDTCN(n_chans=21, n_outputs=2)
    plan = plan_of_default("BDTCN", n_chans=21, n_outputs=2)
    counted = sum(row.size for row in plan.spec().params().values())
    assert counted == sum(tensor.numel() for tensor in net.parameters())


def plan_of_default(name, **arguments):
    kind = KNOWN[name]
    return kind.plan_of({**kind.defaults, **arguments})


@pytest.mark.parametrize(
    "name", ["EEGTCNet", "ShallowFBCSPNet", "Deep4Net", "EEGNet", "EEGNeX", "SPARCNet"]
)
def test_default_nets_have_the_parameters_of_braindecode(name):
    signal_arguments = {"n_chans": 21, "n_outputs": 3, "n_times": 1000}
    net = getattr(braindecode_models(), name)(**signal_arguments)
    spec = plan_of_default(name, **signal_arguments).spec()
    trained = [row.size for row in spec.params().values() if row.role != "statistic"]
    assert sum(trained) == sum(tensor.numel() for tensor in net.parameters())


def test_other_nets_take_their_arguments_as_hints(tmp_path):
    name, config, length = NETS["EEGNet"]
    net, x = net_of(name, config), signal(config, length)
    path = state_of(net, tmp_path)
    sentence = (
        f"{str(path)!r} holds the tensors of EEGNet and does not say n_chans and n_outputs and "
        "n_times; give its arguments: --set config=config.json, or --set n_chans=... "
        "--set n_outputs=... --set n_times=..."
    )
    with pytest.raises(InputError, match=re.escape(sentence)):
        tcnzoo.convert(path, tmp_path / "ours")
    report = tcnzoo.convert(path, tmp_path / "ours", hints=config)
    assert report.assumed["pool1_kernel_size"] == 4
    ours = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "torch"), x)
    assert apart(ours, run(net, x)) < TOLERANCE
    (tmp_path / "arguments.json").write_text(json.dumps(config), "utf-8")
    tcnzoo.convert(path, tmp_path / "b", hints={"config": str(tmp_path / "arguments.json")})
    assert np.array_equal(tcnzoo.predict(tcnzoo.load(tmp_path / "b", "torch"), x), ours)


def test_names_of_earlier_versions_are_read(tmp_path):
    name, config, length = NETS["ShallowFBCSPNet"]
    net, x = net_of(name, config), signal(config, length)
    old = {
        key.replace("conv_time_spat.", "").replace("final_layer.", ""): tensor
        for key, tensor in net.state_dict().items()
    }
    torch.save(old, tmp_path / "old.pt")
    tcnzoo.convert(tmp_path / "old.pt", tmp_path / "ours", hints=config)
    ours = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", "torch"), x)
    assert apart(ours, run(net, x)) < TOLERANCE


# --- Limits of norms ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0.01, 0.1, 0.2, 1.0, 30.0])
def test_weights_that_a_limit_makes_are_found_again(size):
    drawn = np.random.default_rng(1).standard_normal((4, 6))
    kept = drawn * size / np.sqrt((drawn**2).sum(axis=0))
    linear = own_modules().MaxNormLinear(6, 4, max_norm_val=0.25).double()
    with torch.no_grad():
        linear.parametrizations.weight.original.copy_(torch.from_numpy(kept))
    limit = ColumnLimit(0.25)
    effective = limit.effective(kept)
    assert np.allclose(effective, linear.weight.detach().numpy(), rtol=1e-12)
    assert np.allclose(limit.effective(limit.kept(effective)), effective, rtol=1e-12)
    assert limit.needed(effective) == 0.25


def test_weights_above_the_default_limit_are_written_with_a_larger_one(tmp_path):
    name, config, length = NETS["EEGNet-constrained"]
    net, x = net_of(name, config), signal(config, length)
    tcnzoo.convert(saved(net, config, tmp_path / "theirs"), tmp_path / "ours")
    model = tcnzoo.load(tmp_path / "ours", "torch")
    weights = {key: 5.0 * value for key, value in tcnzoo.get_weights(model).items()}
    tcnzoo.set_weights(model, weights)
    tcnzoo.save(model, tmp_path / "trained")
    tcnzoo.convert(tmp_path / "trained", tmp_path / "back", to_format="braindecode")
    written = json.loads((tmp_path / "back" / "config.json").read_text("utf-8"))
    assert written["conv_spatial_max_norm"] > 1.0
    assert written["norm_rate"] > 0.25
    again = loaded(name, written, tmp_path / "back")
    assert apart(run(again, x), tcnzoo.predict(model, x)) < TOLERANCE


def test_rows_at_the_limit_keep_it():
    limit = RowLimit(0.5)
    kept = np.random.default_rng(2).standard_normal((3, 4)).astype(np.float32)
    effective = limit.effective(kept)
    assert limit.needed(effective) == 0.5
    assert limit.needed(2 * effective) == pytest.approx(1.0, rel=1e-6)


# --- What cannot be had ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, error, sentence",
    [
        ({"n_filters_time": 7}, WeightError, "must have the shape (7, 1, 11, 1)"),
        ({"n_times": 20}, SpecError, "n_times=20 is too short for the net: 0 steps are left"),
        ({"pool_mode": "sum"}, SpecError, "a pool of braindecode is 'mean' or 'max', but 'sum'"),
        ({"conv_nonlin": "Sqare"}, SpecError, "but is 'Sqare'; did you mean 'Square'?"),
        ({"split_first_layer": False}, SpecError, "split_first_layer must be true"),
        ({"n_filter_time": 7}, InputError, "which has no argument 'n_filter_time'; did you mean"),
        ({"drop_prob": "half"}, SpecError, "argument 'drop_prob'"),
        ({"n_chans": 1}, SpecError, "n_chans must be at least 2"),
        ({"batch_norm": False}, WeightError, "must hold 'conv_time_spat.conv_spat.bias'"),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_sentence(change, error, sentence, tmp_path):
    name, config, _ = NETS["ShallowFBCSPNet"]
    folder = saved(net_of(name, config), config, tmp_path / "theirs")
    (folder / "config.json").write_text(json.dumps({**config, **change}), "utf-8")
    with pytest.raises(error, match=re.escape(sentence)):
        tcnzoo.convert(folder, tmp_path / "ours")


def test_a_model_of_other_layers_is_refused_with_the_layer(tmp_path):
    _, config, _ = NETS["EEGNet"]
    spec = plan_of_default("EEGNet", **config).spec().model_dump(mode="json")
    spec["layers"]["pool_2"]["mode"] = "max"
    tcnzoo.save(tcnzoo.create(spec, "numpy"), tmp_path / "ours")
    with pytest.raises(SpecError, match="differs from EEGNet in layer 'pool_2'"):
        tcnzoo.convert(tmp_path / "ours", tmp_path / "back", to_format="braindecode")
    tcnzoo.save(tcnzoo.create("tcn-base", "numpy"), tmp_path / "tcn")
    with pytest.raises(SpecError, match="this tcn is none of them"):
        tcnzoo.convert(tmp_path / "tcn", tmp_path / "back", to_format="braindecode")


@pytest.mark.parametrize("case", ["EEGTCNet", "ShallowFBCSPNet", "EEGNeX"])
def test_every_backend_has_the_numbers(case, backend, tmp_path):
    name, config, length = NETS[case]
    net, x = net_of(name, config), signal(config, length)
    tcnzoo.convert(saved(net, config, tmp_path / "theirs"), tmp_path / "ours")
    ours = tcnzoo.predict(tcnzoo.load(tmp_path / "ours", backend), x)
    assert apart(ours, run(net, x)) < TOLERANCE
