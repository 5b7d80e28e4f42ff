"""Models of several outputs by task: gradients, training, export, and what is refused."""

import re

import numpy as np
import pytest

import tcnzoo
from tcnzoo.specs.analysis import describe
from tests.support.cases import BLOCKS, conv1d
from tests.support.compare import assert_close, noise, weights_of
from tests.support.exported import ran, written

DENSE = {"kind": "dense", "in_features": 5, "out_features": 2}
HEADS = {"kind": "heads", "heads": {"steps": DENSE, "mean": {"kind": "pool"}}}
SPEC = {"kind": "sequential", "layers": {"conv": conv1d(2), "heads": HEADS}}


def test_outputs_are_those_of_models_of_one_head(backend):
    weights, x = weights_of(SPEC), noise(2, 3, 9)
    found = tcnzoo.predict(tcnzoo.create(SPEC, backend, weights=weights), x)
    assert list(found) == ["steps", "mean"]
    for name, head in HEADS["heads"].items():
        layers = {"conv": conv1d(2), "head": head}
        own = {
            key.replace(f"heads.{name}.", "head."): array
            for key, array in weights.items()
            if key.startswith(("conv.", f"heads.{name}."))
        }
        model = tcnzoo.create({"kind": "sequential", "layers": layers}, backend, weights=own)
        assert_close(found[name], tcnzoo.predict(model, x), label=name)


def test_gradients_are_of_the_outputs_that_are_named(native):
    model, x = tcnzoo.create(SPEC, native, weights=weights_of(SPEC)), noise(2, 3, 9)
    target = {"steps": noise(2, 2, 9), "mean": noise(2, 5)}
    both, _ = tcnzoo.gradients(model, x, target, {"steps": "mse", "mean": "mae"})
    one, slopes = tcnzoo.gradients(model, x, target, {"mean": "mae"})
    other, _ = tcnzoo.gradients(model, x, target, {"steps": "mse"})
    assert both == pytest.approx(one + other, rel=1e-6)
    assert not slopes["heads.steps.weight"].any()
    assert slopes["conv.weight"].any()


@pytest.mark.parametrize("name", ["heads", "sequential-heads"])
@pytest.mark.parametrize("to", ["onnx", "litert"])
def test_files_hold_all_outputs(to, name, tmp_path):
    pytest.importorskip("onnxruntime" if to == "onnx" else "ai_edge_litert")
    spec, shape = BLOCKS[name]
    path, options = written(to, spec, shape, tmp_path)
    found, expected = ran(to, spec, path, options, shape)
    assert_close({task: found[task] for task in expected}, expected)


def test_other_files_hold_one(tmp_path):
    from tcnzoo.exporters.traced import module_of

    pytest.importorskip("torch")
    sentence = "this format holds one output, but the model gives steps, mean; write an onnx or "
    with pytest.raises(tcnzoo.SpecError, match=sentence):
        module_of(tcnzoo.load_spec(SPEC), weights_of(SPEC))


def test_description_has_a_row_for_each_head():
    rows = {row.path: row.output_shape for row in describe(tcnzoo.load_spec(SPEC), 9).layers}
    assert rows == {"conv": (5, 9), "heads.steps": (2, 9), "heads.mean": (5,)}


REFUSED = {
    "in-the-middle": (
        {"kind": "sequential", "layers": {"heads": HEADS, "pool": {"kind": "pool"}}},
        "layer 'heads' gives several outputs, so it must be the last",
    ),
    "widths": (
        {"kind": "heads", "heads": {"a": DENSE, "b": {**DENSE, "in_features": 4}}},
        "heads read the same input, but 'a' expects 5 channels and 'b' expects 4",
    ),
    "nested": (
        {"kind": "heads", "heads": {"a": HEADS}}, "head 'a' must have one output, but gives several"
    ),
    "name": ({"kind": "heads", "heads": {"spec": DENSE}}, "head name 'spec' is reserved"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_heads_that_do_not_go_together_are_refused(name):
    spec, sentence = REFUSED[name]
    with pytest.raises(tcnzoo.SpecError, match=re.escape(sentence)):
        tcnzoo.load_spec(spec)


def test_heads_do_not_stream(backend):
    with pytest.raises(tcnzoo.InputError, match="heads give several outputs, but a step"):
        tcnzoo.init_state(tcnzoo.create(SPEC, backend))


def test_a_head_that_cannot_take_the_input_is_named(backend):
    model = tcnzoo.create({"kind": "heads", "heads": HEADS["heads"]}, backend)
    with pytest.raises(tcnzoo.InputError, match="head 'mean': pool expects a signal"):
        tcnzoo.predict(model, np.zeros((2, 5)))
