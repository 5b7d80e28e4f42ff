"""AOTInductor packages: compiled once, run at other batches and lengths, beside the reference."""

import subprocess
import sys

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import BackendMissing, SpecError
from tcnzoo.exporters import aotinductor
from tests.support.cases import conv1d
from tests.support.compare import assert_close, assert_refused, noise
from tests.support.exported import ran, written
from tests.support.tcns import tcn

pytest.importorskip("torch")


def _compiler():
    """Whether a C++ compiler is there."""
    try:
        aotinductor._check_compiler()
    except BackendMissing:
        return False
    return True


NEEDS_COMPILER = pytest.mark.skipif(not _compiler(), reason="needs a C++ compiler")


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    """What is compiled for these tests is not left with the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield


@NEEDS_COMPILER
def test_tcn_equals_reference_at_any_batch_and_length(tmp_path):
    spec = tcn("add", "cumulative", norm="layer_norm", gate=True, channels=[4])
    path, options = written("aotinductor", spec, (1, 3, 37), tmp_path)
    for shape in ((1, 3, 37), (2, 3, 21), (3, 3, 90)):
        assert_close(*ran("aotinductor", spec, path, options, shape))


@NEEDS_COMPILER
def test_report_and_command(tmp_path):
    x = noise(2, 3, 41)
    np.save(tmp_path / "x.npy", x)
    report = tcnzoo.export(conv1d(), tmp_path / "it's.pt2", inputs=x, precision="float16")
    random, *_, given = report.comparisons
    assert (random.shape, given.shape) == ((1, 3, 41), (2, 3, 41))
    assert 1e-5 < given.relative < 5e-3  # computed with 11 bits
    assert report.notes[0] == "takes any batch, and any length"
    assert report.size == (tmp_path / "it's.pt2").stat().st_size
    assert sorted(one.name for one in tmp_path.iterdir()) == ["it's.pt2", "x.npy"]
    command = report.command.replace("python ", f"{sys.executable} ", 1)
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first = float(done.stdout.partition("[[[")[2].partition(",")[0])
    expected = tcnzoo.predict(tcnzoo.create(conv1d(), "numpy"), x)[0, 0, 0]
    assert first == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    "named, words",
    [(None, "there is no g++ or clang++"), ("no-such-compiler", "there is no no-such-compiler")],
)
def test_a_missing_compiler_is_told(named, words, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    if named:
        monkeypatch.setenv("CXX", named)
    sentence = (
        f"export to 'aotinductor' needs a C++ compiler, but {words}; install one, or name it in CXX"
    )
    path = tmp_path / "a.pt2"
    assert_refused(BackendMissing, sentence, tcnzoo.export, conv1d(), path)
    assert not list(tmp_path.iterdir())


@NEEDS_COMPILER
def test_what_cannot_be_compiled_is_one_sentence(monkeypatch, tmp_path):
    def refuse(*args, **options):
        raise RuntimeError("no such kernel\nand more")

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", refuse)
    sentence = "AOTInductor cannot convert this conv1d: no such kernel"
    path, spec = tmp_path / "a.pt2", tcnzoo.load_spec(conv1d())
    assert_refused(SpecError, sentence, tcnzoo.export, spec, path)
    assert not list(tmp_path.iterdir())
