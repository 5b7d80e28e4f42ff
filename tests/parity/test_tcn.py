"""TCNs with every combination of options, and of random sizes, against the float64 reference."""

import pytest
from hypothesis import given, settings, strategies as st

from tests.support.cases import MODES, NORMS
from tests.support.compare import assert_parity
from tests.support.tcns import TCN_OPTIONS, covering, tcn, tcn_grid

SHAPE = (2, 3, 23)


@pytest.mark.parametrize("padding_mode", MODES)
@pytest.mark.parametrize("norm", NORMS)
def test_whole_grid(backends, norm, padding_mode):
    # In torch, which builds fastest; the covering part stands for it in the others.
    if "torch" not in backends:
        pytest.skip("needs the torch backend")
    for options in tcn_grid(norm=norm, padding_mode=padding_mode):
        assert_parity(tcn(**options), "torch", *SHAPE, label=str(options))


@pytest.mark.parametrize(
    "options", covering(tcn_grid()), ids=lambda row: "-".join(map(str, row.values()))
)
def test_covering_part_of_the_grid(backend, options):
    assert_parity(tcn(**options), backend, *SHAPE)


def test_the_covering_part_has_every_pair_of_values():
    chosen = covering(tcn_grid())
    for one, other in ((a, b) for a in TCN_OPTIONS for b in TCN_OPTIONS if a < b):
        found = {(row[one], row[other]) for row in chosen}
        assert len(found) == len(TCN_OPTIONS[one]) * len(TCN_OPTIONS[other]), (one, other)
    assert len(chosen) < 30


@pytest.mark.parametrize(
    "fields",
    [
        {"kernel_size": [1, 2, 5]},
        {"dilations": [3, 1, 2]},
        {"dilation_reset": 2},
        {"embeddings": [2]},
        {
            "embeddings": [{"channels": 2, "per_step": True}],
            "embedding_mode": "concat",
            "gate": True,
        },
        {"output_projection": 2, "output_activation": "softmax"},
        {"output_activation": "tanh", "skip_connections": True},
        {"activation": {"name": "leaky_relu", "slope": 0.2}},
        {"norm": {"kind": "batch_norm", "eps": 1e-3, "momentum": 0.01}},
        {"channels": [5]},
        {"channels": [5], "skip_connections": True},
        {"squeeze_excitation": {"reduction": 0, "residual": True}},
    ],
    ids=str,
)
def test_single_option(backend, fields):
    assert_parity({**tcn(), **fields}, backend, *SHAPE)


@st.composite
def sized(draw):
    widths = draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
    sizes = [draw(st.integers(1, 5)) for _ in widths]
    spec = tcn(
        channels=widths,
        in_channels=draw(st.integers(1, 4)),
        kernel_size=sizes,
        dilations=[draw(st.integers(1, 4)) for _ in widths],
        **draw(st.sampled_from(covering(tcn_grid(padding_mode="replicate")))),
    )
    return spec, draw(st.integers(1, 3)), draw(st.integers(1, 29))


@settings(max_examples=8)
@given(case=sized())
def test_any_size(backend, case):
    spec, batch, length = case
    assert_parity(spec, backend, batch, spec["in_channels"], length)
