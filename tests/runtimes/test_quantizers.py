"""Quantisers in exported files: offsets, other backends' files, and what rank 4 leaves out."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import SpecError
from tcnzoo.runtimes.protocol import get_exporter
from tests.support.cases import BLOCKS, SIGNAL
from tests.support.compare import assert_close, assert_refused, reference, weights_of
from tests.support.exported import options_for, ran, written
from tests.support.quantizers import quantizer, residual, signal

NAMES = [name for name in BLOCKS if name.startswith(("vector_quantizer", "residual_vq", "fsq"))]


@pytest.mark.parametrize("cosine", [False, True], ids=["plain", "cosine"])
def test_an_offset_costs_no_index_in_onnx(cosine, tmp_path):
    pytest.importorskip("onnxruntime")
    spec = tcnzoo.load_spec(quantizer(cosine=cosine))
    weights, x = weights_of(spec), signal(2, 5, 300) + np.float32(100.0)
    weights["codebook"] = weights["codebook"] + np.float32(100.0)
    exporter, options = get_exporter("onnx"), options_for(x.shape, dynamic=True)
    exporter.export(spec, weights, tmp_path / "net.onnx", options)
    found = exporter.run(tmp_path / "net.onnx", x, options)
    expected = tcnzoo.predict(reference(spec, weights), x)
    # Codes are 1 apart, or (of length 1, from 100 away) 1e-3: no step has another code.
    assert_close(found, expected, 1e-6)


@pytest.mark.parametrize("spec", [quantizer(), residual(False), {"kind": "fsq", "levels": [3, 5]}])
def test_rank_4_leaves_the_lookup_to_the_host(spec, tmp_path):
    pytest.importorskip("onnx")
    spec = tcnzoo.load_spec(spec)
    exporter = get_exporter("onnx")
    options = options_for((1, spec.channels, 20), dynamic=False, rank=4)
    sentence = (
        f"{spec.kind}: {spec.kind} looks codes up, which rank 4 leaves to the host; export what "
        "comes before it, or use rank 3"
    )
    arguments = (spec, weights_of(spec), tmp_path / "net.onnx", options)
    assert_refused(SpecError, sentence, exporter.export, *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [name for name in NAMES if "gradient" not in name])
def test_torch_programs_hold_them(name):
    torch = pytest.importorskip("torch")
    spec, shape = BLOCKS[name]
    model = tcnzoo.create(spec, "torch", weights=weights_of(spec))
    x = torch.from_numpy(signal(*shape))
    with torch.no_grad():
        program = torch.export.export(model, (x,)).module()
        assert torch.equal(program(x), model(x))


@pytest.mark.parametrize("name", ["vector_quantizer-cosine", "residual_vq-shared1", "fsq"])
def test_litert_files_hold_them(name, tmp_path):
    pytest.importorskip("ai_edge_litert.interpreter")
    if pytest.importorskip("keras").backend.backend() != "tensorflow":
        pytest.skip("the conversion goes through TensorFlow")
    path, options = written("litert", BLOCKS[name][0], SIGNAL, tmp_path, dynamic=False)
    assert_close(*ran("litert", BLOCKS[name][0], path, options, SIGNAL))
