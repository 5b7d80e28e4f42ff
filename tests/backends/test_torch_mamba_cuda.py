"""Whose implementation Mamba-2 runs in, tried with a stand-in for the kernels of mamba_ssm."""

import importlib.machinery
import importlib.util
import json
import sys
import types

import numpy as np
import pytest
import torch

import tcnzoo
from tcnzoo.backends.torch.kernels import mamba_cuda
from tcnzoo.backends.torch.kernels.ssd import Inputs, chunked
from tcnzoo.cli import app
from tcnzoo.specs.implementations import implementations
from tests.support.cases import mamba2
from tests.support.compare import assert_close, noise, reference, weights_of

OPTIONS = {
    "plain": {"groups": 2},
    "per-channel": {"d_per_channel": True, "chunk_size": 16},
    "limits": {"dt_limit": [0.02, 0.05]},
    "narrow": {"head_dim": 1},
}
MODULE = "mamba_ssm.ops.triton.ssd_combined"


@pytest.fixture
def calls(monkeypatch):
    """A stand-in for the library, on CPU tensors; the arguments of its calls.

    It is importable in this test alone: transformers, too, looks whether it is.
    """
    seen = []

    def mamba_chunk_scan_combined(x, dt, A, B, C, chunk_size, D=None, **others):  # noqa: N803
        batch, steps, heads, width = x.shape
        groups, n = B.shape[2:]
        assert (dt.shape, A.shape) == ((batch, steps, heads), (heads,))
        assert B.shape == C.shape == (batch, steps, groups, n)
        assert D.shape in ((heads,), (heads, width))
        assert D.stride(-1) == 1
        assert (A < 0).all()
        assert {dt.dtype, A.dtype, D.dtype} == {torch.float32}
        assert not others
        seen.append({"chunk": chunk_size, "dtype": x.dtype})
        inputs = Inputs(*(one.float() for one in (x, dt, A, B, C, D.view(heads, -1))))
        y, _ = chunked(inputs, torch.zeros(batch, heads, width, n), chunk_size)
        return y.to(x.dtype)

    for name in ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.triton", MODULE):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    module.mamba_chunk_scan_combined = mamba_chunk_scan_combined
    monkeypatch.setattr(mamba_cuda, "DEVICE", "cpu")
    return seen


def _create(spec, **fields):
    return tcnzoo.create(spec, "torch", weights=weights_of(spec), **fields)


def test_the_library_is_nowhere_else():
    assert importlib.util.find_spec("mamba_ssm") is None


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_kernels_give_the_reference(options, calls):
    spec = mamba2(**options, implementation="mamba-ssm")
    x = noise(2, 3, 37)
    found = tcnzoo.predict(_create(spec), x)
    assert calls == [{"chunk": options.get("chunk_size", 256), "dtype": torch.float32}]
    assert_close(found, tcnzoo.predict(reference(spec, weights_of(spec)), x))


def test_kernels_are_differentiated(calls):
    x = noise(2, 3, 37)
    target = np.zeros_like(x)
    _, expected = tcnzoo.gradients(_create(mamba2(implementation="native")), x, target)
    assert not calls
    _, found = tcnzoo.gradients(_create(mamba2(implementation="mamba-ssm")), x, target)
    assert len(calls) == 1
    for name, gradient in expected.items():
        assert_close(found[name], gradient, 1e-5, name)


def test_a_stream_is_native(calls):
    model, x = _create(mamba2(implementation="mamba-ssm")), noise(2, 3, 7).astype(np.float32)
    y, _ = tcnzoo.step(model, x, tcnzoo.init_state(model, 2))
    assert not calls
    assert_close(y, tcnzoo.predict(model, x))


@pytest.mark.parametrize("implementation", ["auto", "native"])
def test_auto_does_not_round_float32(implementation, calls):
    """The kernels multiply float32 as TF32, so float32 is theirs only where TF32 is allowed."""
    tcnzoo.predict(_create(mamba2(implementation=implementation)), noise(2, 3, 37))
    assert not calls


def test_auto_takes_the_kernels_for_16_bits(calls):
    tcnzoo.predict(_create(mamba2(), dtype="bfloat16"), noise(2, 3, 37))
    assert [one["dtype"] for one in calls] == [torch.bfloat16]
    tcnzoo.predict(_create(mamba2(), autocast="bfloat16"), noise(2, 3, 37))
    assert [one["dtype"] for one in calls] == [torch.bfloat16] * 2


def test_auto_takes_the_kernels_where_tf32_is_allowed(calls, monkeypatch):
    model, x = _create(mamba2()), torch.from_numpy(noise(2, 3, 37).astype(np.float32))
    allowed = types.SimpleNamespace(allow_tf32=True)
    monkeypatch.setattr(torch.backends.cuda, "matmul", allowed)
    model(x)
    assert len(calls) == 1
    allowed.allow_tf32 = False
    model(x)
    assert len(calls) == 1


def test_auto_leaves_other_devices_alone(calls, monkeypatch):
    monkeypatch.setattr(mamba_cuda, "DEVICE", "cuda")
    tcnzoo.predict(_create(mamba2(), dtype="bfloat16"), noise(2, 3, 37))
    assert not calls


def test_kernels_by_name_on_a_cpu(calls, monkeypatch):
    monkeypatch.setattr(mamba_cuda, "DEVICE", "cuda")
    model = _create(mamba2(implementation="mamba-ssm"))
    sentence = "takes float32 or 16-bit signals on 'cuda', but a signal of float32 on 'cpu' came"
    with pytest.raises(tcnzoo.InputError, match=sentence):
        tcnzoo.predict(model, noise(2, 3, 37))


def test_kernels_by_name_in_float64(calls):
    model = _create(mamba2(implementation="mamba-ssm"), dtype="float64")
    with pytest.raises(tcnzoo.InputError, match="but a signal of float64 on 'cpu' came"):
        tcnzoo.predict(model, noise(2, 3, 37))


def test_kernels_by_name_that_are_missing():
    inner = {"head_dim": 2, "implementation": "mamba-ssm"}
    for spec in (
        mamba2(implementation="mamba-ssm"),
        {"kind": "bi_mamba2", "channels": 3, "mamba": inner},
    ):
        with pytest.raises(tcnzoo.BackendMissing, match="pip install mamba-ssm$"):
            tcnzoo.create(spec, "torch")


@pytest.mark.parametrize("backend", ["mlx", "keras"])
def test_kernels_by_name_in_other_backends(backend):
    pytest.importorskip({"mlx": "mlx.core"}.get(backend, backend))
    with pytest.raises(tcnzoo.InputError, match=f"^backend '{backend}' has no mamba-ssm kernels"):
        tcnzoo.create(mamba2(implementation="mamba-ssm"), backend)
    tcnzoo.create(mamba2(implementation="auto"), backend)


def _told(capsys, *arguments):
    app(["describe", *arguments], standalone_mode=False)
    return capsys.readouterr().out


def test_describe_tells_the_choice(tmp_path, capsys, calls):
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(mamba2()))
    with_library = "mamba-ssm in torch on CUDA for 16-bit types or TF32, else tcnzoo's own"
    assert json.loads(_told(capsys, str(path), "--json"))["mamba2"] == {"auto": with_library}
    assert f"auto: {with_library}" in " ".join(_told(capsys, str(path)).split())
    native = _told(capsys, str(path), "--set", "implementation=native", "--json")
    assert json.loads(native)["mamba2"] == {"native": "tcnzoo's own"}
    named = tcnzoo.load_spec(mamba2(implementation="mamba-ssm"))
    assert implementations(named) == {"mamba-ssm": "mamba-ssm, on CUDA only"}


def test_describe_tells_what_is_missing(capsys):
    missing = "tcnzoo's own (mamba-ssm is not installed)"
    assert json.loads(_told(capsys, "seizure-stream", "--json"))["mamba2"] == {"auto": missing}
    assert f"auto: {missing}" in " ".join(_told(capsys, "seizure-stream").split())
    assert "mamba2" not in _told(capsys, "tcn-base")
    named = tcnzoo.load_spec(mamba2(implementation="mamba-ssm"))
    assert implementations(named) == {"mamba-ssm": "mamba-ssm, which is not installed"}
