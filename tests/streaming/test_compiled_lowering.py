"""A model's step as a list of operations computes what the blocks define."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import SpecError
from tcnzoo.streams.lowering import lower
from tcnzoo.streams.program import Activate, Affine, Conv, Merge
from tests.support.cases import ACTIVATIONS, BLOCKS
from tests.support.compare import assert_close, noise, reference, rows_for, weights_of
from tests.support.programs import Interpreter
from tests.support.streams import STREAMED, STREAMED_TCNS
from tests.support.tcns import tcn

WITHOUT = {"conv-codes": "residual_vq"}
CASES = {name: spec for name, spec in {**STREAMED, **STREAMED_TCNS}.items() if name not in WITHOUT}
CASES |= {
    f"activation-{name}": {
        "kind": "conv_block", "in_channels": 3, "out_channels": 4, "kernel_size": 2,
        "activation": {"name": name, "slope": 0.3, "alpha": 0.6},
    }
    for name in ACTIVATIONS
}  # fmt: skip
CASES |= {
    name: spec
    for name, (spec, shape) in BLOCKS.items()
    if len(shape) == 3
    and spec["kind"] in ("batch_norm", "layer_norm", "rms_norm", "dense", "squeeze_excitation")
    and tcnzoo.load_spec(spec).streaming_blocker() is None
}
CASES |= {
    name: spec
    for name, (spec, _) in BLOCKS.items()
    if spec["kind"] in ("mamba2", "temporal_block", "conv_block", "channel_adapter")
    and tcnzoo.load_spec(spec).streaming_blocker() is None
}


@pytest.fixture(autouse=True)
def engine():
    """None: operations are interpreted; see conftest."""


@pytest.mark.parametrize("name", CASES)
def test_operations_compute_what_the_blocks_define(name):
    spec = tcnzoo.load_spec(CASES[name])
    weights, x = weights_of(spec), noise(1, spec.input_channels, 23)
    rows = rows_for(spec, 1, 23)
    model = reference(spec, weights)
    state = tcnzoo.init_state(model)
    engine = Interpreter(lower(spec, weights))
    for start, stop in ((0, 1), (1, 1), (1, 9), (9, 23)):
        part = [row[..., start:stop] if row.ndim == 3 else row for row in rows]
        y, state = tcnzoo.step(model, x[..., start:stop], state, embeddings=part)
        answer = engine.step(x[0, :, start:stop], [row[0] for row in part])
        assert_close(answer, y[0], label=f"{start} to {stop}")
    assert engine.state.keys() == state.keys()
    for entry, array in state.items():
        if not entry.endswith("mean_low"):
            assert_close(np.ravel(engine.state[entry]), np.ravel(array), label=entry)


def test_norms_and_activations_are_taken_up():
    spec = tcnzoo.load_spec(tcn(norm="batch_norm", skip_connections=True))
    operations = lower(spec, weights_of(spec)).operations
    assert {type(one) for one in operations} == {Conv, Merge}
    assert [one.target.index for one in operations] == list(range(1, 1 + len(operations)))


def test_a_batch_norm_behind_a_convolution_is_taken_up():
    conv = {"kind": "conv1d", "in_channels": 3, "out_channels": 4, "kernel_size": 2}
    norm, relu = {"kind": "batch_norm", "channels": 4}, {"kind": "activation", "name": "relu"}
    spec = tcnzoo.load_spec(
        {"kind": "sequential", "layers": {"conv": conv, "norm": norm, "relu": relu}}
    )
    (only,) = lower(spec, weights_of(spec)).operations
    assert isinstance(only, Conv)
    assert only.activation.name == "relu"


def test_what_is_read_twice_stays():
    nodes = {
        "conv": {"layer": {"kind": "dense", "in_features": 3, "out_features": 3}},
        "norm": {"layer": {"kind": "batch_norm", "channels": 3}, "inputs": ["conv"]},
        "tanh": {"layer": {"kind": "activation", "name": "tanh"}, "inputs": ["conv"]},
        "sum": {"layer": {"kind": "merge", "mode": "add"}, "inputs": ["norm", "tanh", "conv"]},
    }
    spec = tcnzoo.load_spec({"kind": "graph", "in_channels": 3, "nodes": nodes})
    kinds = [type(one) for one in lower(spec, weights_of(spec)).operations]
    assert kinds == [Conv, Affine, Activate, Merge]


@pytest.mark.parametrize(
    "spec, sentence",
    [
        (BLOCKS["residual_vq-shared0"][0], "the model is a residual_vq, which has no step"),
        (BLOCKS["pool-last"][0], "this model cannot stream: pool: mode 'last'"),
        (BLOCKS["glu"][0], "the glu takes signals of any number of channels"),
    ],
)
def test_refused(spec, sentence):
    spec = tcnzoo.load_spec(spec)
    with pytest.raises(SpecError, match=f"^{sentence}"):
        lower(spec, weights_of(spec))
