"""Initial weights: gain and fan really applied, and the same bits everywhere for a seed."""

import math

import numpy as np
import pytest

import tcnzoo
from tcnzoo.specs.params import initial_weights, varied_weights
from tests.support.cases import BLOCKS
from tests.support.compare import assert_same_bits
from tests.support.tcns import tcn

# Deviation of 60,000 draws: within 1 % of its expectation (five sigmas of the estimate).
NEAR = 0.01
IN, OUT, TAPS = 80, 96, 8
FAN_IN, FAN_OUT = IN * TAPS, OUT * TAPS

DEVIATIONS = {
    "xavier_uniform": math.sqrt(2 / (FAN_IN + FAN_OUT)),
    "xavier_normal": math.sqrt(2 / (FAN_IN + FAN_OUT)),
    "kaiming_uniform": math.sqrt(1 / FAN_IN),
    "kaiming_normal": math.sqrt(1 / FAN_IN),
    "normal": 1.0,
    "uniform": math.sqrt(1 / 3),
}


def _conv(**fields):
    return tcnzoo.load_spec(
        {"kind": "conv1d", "in_channels": IN, "out_channels": OUT, "kernel_size": TAPS, **fields}
    )


def _effective(spec, name="weight"):
    """The kernel that is used, whatever the weight norm."""
    folded, weights = tcnzoo.fold(spec, initial_weights(spec.params()))
    assert not getattr(folded, "weight_norm", False)
    return weights[name].astype(np.float64)


@pytest.mark.parametrize("weight_norm", [False, True])
@pytest.mark.parametrize("gain", [1.0, 0.3])
@pytest.mark.parametrize("name", DEVIATIONS)
def test_deviation_has_fan_and_gain(name, gain, weight_norm):
    kernel = _effective(_conv(initializer={"name": name, "gain": gain}, weight_norm=weight_norm))
    wanted = gain * DEVIATIONS[name]
    assert kernel.std() == pytest.approx(wanted, rel=NEAR)
    assert abs(kernel.mean()) < 5 * wanted / math.sqrt(kernel.size)
    if name.endswith("uniform"):
        assert np.abs(kernel).max() == pytest.approx(math.sqrt(3) * wanted, rel=1e-3)
    else:
        assert np.abs(kernel).max() > 3.5 * wanted


@pytest.mark.parametrize(
    "activation, gain",
    [
        ("relu", math.sqrt(2)),
        ("gelu", math.sqrt(2)),
        ("tanh", 5 / 3),
        ("selu", 3 / 4),
        ("sigmoid", 1.0),
        ("linear", 1.0),
        ({"name": "leaky_relu", "slope": 0.5}, math.sqrt(2 / 1.25)),
    ],
    ids=str,
)
@pytest.mark.parametrize("norm", ["none", "weight_norm", "batch_norm"])
def test_gain_follows_the_activation(activation, gain, norm):
    fields = _conv().model_dump(include={"in_channels", "out_channels", "kernel_size"})
    fields |= {"kind": "conv_block", "activation": activation, "norm": norm}
    kernel = _effective(tcnzoo.load_spec(fields), "conv.weight")
    assert kernel.std() == pytest.approx(gain / math.sqrt(FAN_IN), rel=NEAR)


def test_given_gain_beats_the_activation_in_every_kernel_of_a_tcn():
    fields = {
        "kind": "tcn",
        "in_channels": 80,
        "channels": [96, 64],
        "kernel_size": 8,
        "norm": "weight_norm",
    }
    spec = tcnzoo.load_spec({**fields, "initializer": {"name": "xavier_normal", "gain": 0.2}})
    for name, (inside, outside, taps) in {
        "blocks.0.conv1": (80, 96, 8),
        "blocks.0.conv2": (96, 96, 8),
        "blocks.1.conv2": (64, 64, 8),
        "blocks.1.residual": (96, 64, 1),
    }.items():
        wanted = 0.2 * math.sqrt(2 / (taps * (inside + outside)))
        assert _effective(spec, f"{name}.weight").std() == pytest.approx(wanted, rel=5 * NEAR), name


def test_groups_and_transposition_change_the_fan():
    grouped = _effective(_conv(groups=4, initializer={"name": "kaiming_normal", "gain": 1.0}))
    assert grouped.std() == pytest.approx(math.sqrt(4 / FAN_IN), rel=2 * NEAR)
    fields = {
        "kind": "conv_transpose1d",
        "in_channels": IN,
        "out_channels": OUT,
        "kernel_size": TAPS,
    }
    spec = tcnzoo.load_spec(
        {**fields, "stride": 4, "initializer": {"name": "kaiming_normal", "gain": 1}}
    )
    # Of the 8 taps, 2 meet at each output step.
    assert _effective(spec).std() == pytest.approx(math.sqrt(1 / (IN * 2)), rel=NEAR)


def test_bias_is_uniform_in_one_over_root_fan_in():
    bias = initial_weights(_conv(out_channels=4000).params())["bias"]
    assert np.abs(bias).max() == pytest.approx(1 / math.sqrt(FAN_IN), rel=NEAR)
    assert bias.std() == pytest.approx(1 / math.sqrt(3 * FAN_IN), rel=3 * NEAR)


def test_weight_norm_gain_starts_as_the_norm_of_the_direction():
    spec = _conv(weight_norm=True)
    weights = initial_weights(spec.params())
    expected = np.sqrt(
        (weights["weight_v"].astype(np.float64) ** 2).sum(axis=(1, 2), keepdims=True)
    )
    np.testing.assert_allclose(weights["weight_g"], expected, rtol=1e-6)


SPECS = {
    "tcn": tcn("concat", "cumulative", gate=True, skip_connections=True, norm="batch_norm"),
    "tcn-weight_norm": tcn("add", "global", norm="weight_norm", output_projection=2),
    "conv_transpose1d": BLOCKS["conv_transpose1d-weight_norm-bias1"][0],
    "sequential": BLOCKS["sequential-nested"][0],
}


@pytest.mark.parametrize("name", SPECS)
def test_a_seed_gives_the_same_bits_in_every_backend(backend, name):
    spec = tcnzoo.load_spec(SPECS[name])
    for seed in (0, 3):
        first = tcnzoo.get_weights(tcnzoo.create(spec, backend, seed=seed))
        assert_same_bits(first, initial_weights(spec.params(), seed))
        assert_same_bits(tcnzoo.get_weights(tcnzoo.create(spec, backend, seed=seed)), first)


def test_another_seed_gives_other_weights():
    spec = tcnzoo.load_spec(SPECS["tcn-weight_norm"])
    one, other = (initial_weights(spec.params(), seed) for seed in (0, 1))
    for name in one:
        assert not np.array_equal(one[name], other[name]), name


def test_seed_zero_is_pinned():
    # So that no release changes everybody's initial weights unnoticed: PCG64(0) begins with this.
    spec = tcnzoo.load_spec({"kind": "dense", "in_features": 1, "out_features": 1})
    draw = 0.6369616873214543
    expected = np.float32((2 * draw - 1) * math.sqrt(3))
    assert initial_weights(spec.params(), 0)["weight"].item() == expected


def test_varied_weights_leave_nothing_at_its_start():
    spec = tcnzoo.load_spec(SPECS["tcn"] | {"norm": "batch_norm"})
    table = {**spec.params(), **tcnzoo.load_spec(SPECS["tcn-weight_norm"]).params()}
    start, varied = initial_weights(table), varied_weights(table)
    for name, param in table.items():
        if param.role in ("scale", "statistic") or "norm" in name:
            assert (start[name] != varied[name]).all(), name
