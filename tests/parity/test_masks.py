"""Masks beside the signal: given by name, refused in one sentence, streamed, trained, exported."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.training.losses import Mse
from tcnzoo.training.parity import training_parity
from tcnzoo.training.targets import Targets
from tests.support.cases import BLOCKS, conv1d, mask_token
from tests.support.compare import (
    assert_close,
    assert_refused,
    beside,
    in_order,
    noise,
    reference,
    weights_of,
)
from tests.support.exported import ran, written

SPEC, SHAPE = BLOCKS["sequential-masks"]
ONE = {"kind": "sequential", "layers": {"mask": mask_token(), "conv": conv1d(2)}}


def _masks(**changed):
    return {"early": np.ones((2, 9)), "late": np.ones((2, 4)), "last": np.ones((2, 5))} | changed


REFUSED = {
    "missing": (
        {"late": None}, "the model takes the mask 'late', but only 'early', 'last' came",
    ),
    "unknown": (
        {"lat": np.ones((2, 4))},
        "the model has no mask 'lat'; its masks are early, late, last; did you mean 'late'?",
    ),
    "shape": ({"late": np.ones((2, 9))}, "mask 'late' must have shape (2, 4), but has (2, 9)"),
    "values": (
        {"last": np.full((2, 5), 0.25)}, "mask 'last' must hold 0 and 1 only, but holds 0.25",
    ),
    "nan": ({"last": np.full((2, 5), np.nan)}, "mask 'last' must hold 0 and 1 only, but holds nan"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_masks_are_refused(backend, name):
    changed, sentence = REFUSED[name]
    masks = {key: mask for key, mask in _masks(**changed).items() if mask is not None}
    model, rows = tcnzoo.create(SPEC, backend), [noise(2, 4), noise(2, 2, 9)]
    options = {"embeddings": rows, "masks": masks}
    assert_refused(tcnzoo.InputError, sentence, tcnzoo.predict, model, noise(2, 3, 9), **options)


def test_a_model_without_masks_takes_none(backend):
    model = tcnzoo.create(conv1d(), backend)
    sentence = "the model has no mask 'mask'; it takes none"
    options = {"masks": {"mask": np.ones((2, 9))}}
    assert_refused(tcnzoo.InputError, sentence, tcnzoo.predict, model, noise(2, 3, 9), **options)


def test_no_masks_at_all_names_the_first(backend):
    model = tcnzoo.create(ONE, backend)
    sentence = "the model takes the mask 'mask', but none came"
    assert_refused(tcnzoo.InputError, sentence, tcnzoo.predict, model, noise(2, 3, 9))


def test_masks_of_bools_are_as_good(backend):
    model, x = tcnzoo.create(ONE, backend), noise(2, 3, 9)
    mask = noise(2, 9) > 0
    np.testing.assert_array_equal(
        tcnzoo.predict(model, x, masks={"mask": mask}),
        tcnzoo.predict(model, x, masks={"mask": mask.astype(float)}),
    )


def test_masks_are_cut_with_the_chunks(backend):
    model, x = tcnzoo.create(ONE, backend, weights=weights_of(ONE)), noise(2, 3, 9)
    mask = (noise(2, 9) > 0).astype(float)
    whole = tcnzoo.predict(reference(ONE, weights_of(ONE)), x, masks={"mask": mask})
    state, pieces = tcnzoo.init_state(model, 2), []
    for span in (slice(0, 4), slice(4, 5), slice(5, 9)):
        masks = {"mask": mask[:, span]}
        piece, state = tcnzoo.step(model, x[..., span], state, masks=masks)
        pieces.append(piece)
    assert_close(np.concatenate(pieces, axis=2), whole)
    sentence = "mask 'mask' must have shape (2, 1), but has (2, 9)"
    options = {"masks": {"mask": mask}}
    assert_refused(tcnzoo.InputError, sentence, tcnzoo.step, model, x[..., :1], state, **options)


def test_training_reads_masks_by_name(native):
    if native == "torch":
        pytest.skip("the others are compared with it")
    report = training_parity(ONE, 3, ["torch", native], input_length=9)
    assert report.passed, report


def test_training_names_a_mask_that_a_batch_lacks():
    targets = Targets(tcnzoo.load_spec(ONE), [Mse()], None)
    batch = {"x": noise(2, 3, 9), "y": noise(2, 5, 9)}
    sentence = "the model needs 'mask', but the batch holds x, y"
    assert_refused(tcnzoo.InputError, sentence, targets.embeddings, batch)
    sentence = "mask 'mask' must hold 0 and 1 only, but holds 2"
    wrong = {**batch, "mask": np.full((2, 9), 2.0)}
    assert_refused(tcnzoo.InputError, sentence, targets.embeddings, wrong)


def test_onnx_names_masks(tmp_path):
    pytest.importorskip("onnxruntime")
    import onnxruntime

    path, options = written("onnx", SPEC, SHAPE, tmp_path)
    assert_close(*ran("onnx", SPEC, path, options, SHAPE))
    session = onnxruntime.InferenceSession(path)
    inputs = {port.name: port.shape for port in session.get_inputs()}
    assert inputs == {
        "x": ["batch", 3, "time"], "mask.early": ["batch", "time"], "embedding.0": ["batch", 4],
        "embedding.1": ["batch", 2, "time"], "mask.late": ["batch", "mask.late.tokens"],
        "mask.last": ["batch", "mask.last.tokens"],
    }  # fmt: skip


def test_onnx_streams_masks(tmp_path):
    pytest.importorskip("onnxruntime")
    path, options = written("onnx", ONE, (2, 3, 21), tmp_path, streaming=True)
    assert_close(*ran("onnx", ONE, path, options, (2, 3, 21)))


def test_compiled_steps_refuse_masks():
    from tcnzoo.streams.lowering import lower

    spec = tcnzoo.load_spec(ONE)
    sentence = (
        "the model takes the mask 'mask', which a list of operations has no place for; leave the "
        "mask out"
    )
    assert_refused(tcnzoo.SpecError, sentence, lower, spec, weights_of(spec))


def test_the_order_of_the_model_is_that_of_its_layers():
    rows = in_order(SPEC, beside(SPEC, SHAPE))
    assert [row.shape for row in rows] == [(3, 9), (3, 4), (3, 2, 9), (3, 4), (3, 5)]
    assert not rows[0][-1].any()
    assert rows[0][:-1].any()
