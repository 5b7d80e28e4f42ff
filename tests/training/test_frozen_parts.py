"""Parts that are frozen whole: they run as in evaluation while the rest of a model is trained."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError
from tcnzoo.training.freezing import frozen_parts, matching
from tests.support.compare import assert_close, assert_same_bits, noise, weights_of
from tests.support.train_oracles import plan_of, stepper_of

SPEC = {
    "kind": "sequential",
    "layers": {
        "stem": {
            "kind": "conv_block", "in_channels": 2, "out_channels": 4, "kernel_size": 3,
            "norm": "batch_norm", "activation": "relu", "dropout": 0.5,
        },
        "codes": {
            "kind": "vector_quantizer", "channels": 4, "codes": 6, "dead_code_threshold": 0.0,
        },
        "head": {"kind": "conv1d", "in_channels": 4, "out_channels": 3, "kernel_size": 1},
    },
}  # fmt: skip
STEM = {"stem.conv.weight", "stem.conv.bias", "stem.norm.weight", "stem.norm.bias"}
STATISTICS = {"stem.norm.running_mean", "stem.norm.running_var"}
SGD = {"kind": "sgd", "lr": 0.1}


def batch():
    return {"x": noise(5, 2, 11), "y": noise(5, 3, 11, seed=1)}


def test_patterns_take_statistics_along_and_name_the_parts_that_rest():
    spec = tcnzoo.load_spec(SPEC)
    names = matching(["stem.*"], spec.params())
    assert names >= STEM | STATISTICS
    paths = frozen_parts(spec, names)
    assert {"stem", "stem.conv", "stem.norm"} <= paths
    assert not paths & {"", "codes", "head"}
    assert {path for path, _ in spec.walk() if path.startswith("stem")} == paths
    assert frozen_parts(spec, STEM) == {"stem.conv"}
    with pytest.raises(InputError, match="matches every parameter"):
        matching(["stem.*", "codes.*", "head.*"], spec.params())


def trained(native, frozen):
    """Weights before and after two steps, the model, and the first loss."""
    spec = tcnzoo.load_spec(SPEC)
    model = tcnzoo.create(spec, native, weights=weights_of(spec))
    names = matching(frozen, spec.params())
    stepper = stepper_of(native, model, plan_of(SGD, "mse", frozen=names))
    before = tcnzoo.get_weights(model)
    first = float(stepper.step([batch()], 0.1, seed=3)["loss"])
    stepper.step([batch()], 0.1, seed=4)
    return before, tcnzoo.get_weights(model), first, model, stepper


def test_what_rests_keeps_its_statistics_and_codes(native):
    before, after, first, *_ = trained(native, ["stem.*", "codes.*"])
    still = {name for name in before if not name.startswith("head.")}
    assert_same_bits({name: after[name] for name in still}, {name: before[name] for name in still})
    assert (after["head.weight"] != before["head.weight"]).any()
    # Nothing in front of the head is random or by the batch, so this is the loss in evaluation.
    reference = tcnzoo.create(SPEC, "numpy", weights=before, dtype="float64")
    expected = np.square(tcnzoo.predict(reference, batch()["x"]) - batch()["y"]).mean()
    assert_close(np.array(first), np.array(expected))


def test_statistics_of_frozen_weights_move_unless_they_are_frozen_too(native):
    before, after, *_ = trained(native, ["stem.*weight", "stem.*bias"])
    for name in STEM:
        np.testing.assert_array_equal(after[name], before[name])
    for name in STATISTICS | {"codes.cluster_size"}:
        assert (after[name] != before[name]).any(), name


def test_what_is_let_go_moves_again(native):
    _, before, _, model, stepper = trained(native, ["stem.*", "codes.*"])
    stepper.freeze(frozenset())
    stepper.step([batch()], 0.1, seed=5)
    after = tcnzoo.get_weights(model)
    lost = {"stem.conv.bias"}  # batch norm takes every shift before it away
    for name in (STEM - lost) | STATISTICS | {"codes.cluster_size"}:
        assert (after[name] != before[name]).any(), name
