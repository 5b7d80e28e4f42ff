"""C files: the float64 reference, compiled without a warning; no allocation; int8; what is refused.

Files are compiled with `-Wall -Wextra -pedantic -std=c99 -Werror` and called through ctypes.
"""

import ctypes
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.cli import app
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.exporters.c import compiled
from tcnzoo.exporters.c.functions import WIDTHS, panels
from tcnzoo.exporters.c.numbers import in_panels, quantised
from tcnzoo.exporters.c.source import identifier, source
from tcnzoo.runtimes.protocol import get_exporter
from tcnzoo.streams.program import Merge, Program, Repeat, Select, Signal
from tests.support.cases import ACTIVATIONS, BLOCKS, conv1d, mamba2
from tests.support.compare import assert_close, assert_refused, noise, reference, weights_of
from tests.support.exported import ran, written
from tests.support.streams import STREAMED, STREAMED_TCNS
from tests.support.tcns import tcn

ROOT = Path(__file__).parents[2]
needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None, reason="no C compiler (cc) on this machine"
)

# Blocks of cases.py that STREAMED has no like of, among them all that keep no state.
MORE = (
    "glu", "dense-signal", "dense-no-bias", "dense_block-signal", "conv1d-depthwise-weight_norm",
    "conv1d-s2-d3-g3", "batch_norm-eps0.3", "layer_norm-eps1e-05", "rms_norm-g2", "rms_norm-g3",
    "squeeze_excitation-cumulative-r0-res1", "squeeze_excitation-cumulative-r8-res0",
    "conv_block-weight_norm", "conv_block-strided", "temporal_block", "sequential-nested",
    "temporal_block-gate-norm", "mamba2-d_per_channel", "mamba2-no_norm", "mamba2-ungrouped",
    "mamba2-wide", "upsample-nearest-5", "window_pool-max-valid-3-1",
)  # fmt: skip


def behind_conv(layer):
    """A layer behind a convolution of three channels, for one that takes any number."""
    layers = {"conv": conv1d(2, out_channels=6), "layer": layer}
    return {"kind": "sequential", "layers": layers}


CASES = {
    **STREAMED,
    **STREAMED_TCNS,
    **{name: BLOCKS[name][0] for name in MORE},
    **{f"activation-{name}": behind_conv(BLOCKS[f"activation-{name}"][0]) for name in ACTIVATIONS},
    "glu": behind_conv({"kind": "glu"}),
    "leaky_relu-slope": behind_conv(BLOCKS["activation-leaky_relu-slope"][0]),
    "elu-alpha": behind_conv(BLOCKS["activation-elu-alpha"][0]),
    # Every width of a panel, and kernels that are no multiple of what is unrolled.
    "wide": tcn(channels=[63, 33, 16], kernel_size=[3, 1, 2]),
    "upsample-nearest-5": behind_conv({"kind": "upsample", "factor": 5}),
}
del CASES["conv-codes"]  # no lowering
# A logarithm magnifies the rounding of what is near zero; a floor keeps away from that.
CASES["activation-safe_log"] = behind_conv(BLOCKS["activation-safe_log-floor"][0])


@pytest.fixture(autouse=True)
def no_warnings(monkeypatch):
    """Make a warning of the compiler an error."""
    monkeypatch.setattr(compiled, "OPTIONS", (*compiled.OPTIONS, "-Werror"))


def classifier(**fields):
    """A net with a step's scores of four classes."""
    spec = {
        "kind": "tcn", "in_channels": 3, "channels": [32, 32, 32], "kernel_size": 5,
        "norm": "batch_norm", "output_projection": 4,
    }  # fmt: skip
    return tcnzoo.load_spec({**spec, **fields})


def model(spec):
    """A model with weights that hide nothing."""
    return tcnzoo.create(spec, "numpy", weights=weights_of(spec))


def build(folder, *arguments):
    """Run the compiler in a folder."""
    options = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    command = [shutil.which("cc"), *options, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def undefined(folder, name):
    """Symbols that an object file takes from elsewhere."""
    done = subprocess.run(
        ["nm", "-u", name], cwd=folder, capture_output=True, text=True, check=True
    )
    return {line.split()[-1] for line in done.stdout.splitlines() if line.strip()}


class Stream:
    """A stream through a compiled file."""

    def __init__(self, path):
        self.net = compiled.load(path)
        self.state = np.full(self.net.facts["ram"], 0xAB, np.uint8)  # not zero before the reset
        self.reset()

    def reset(self):
        self.net.reset(self.state.ctypes.data_as(ctypes.c_void_p))

    def steps(self, x):
        """(time, channels) -> (time', outputs)."""
        x = np.ascontiguousarray(x, np.float32)
        output = self.net.facts["output"]
        y = np.full((len(x) * output["most"] + 1, output["channels"]), np.nan, np.float32)
        at = [array.ctypes.data_as(ctypes.c_void_p) for array in (self.state, x, y)]
        count = self.net.steps(at[0], at[1], len(x), at[2])
        assert np.isnan(y[count:]).all()  # nothing beyond what it says
        return y[:count]


# --- Numbers --------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("name", CASES)
def test_a_file_equals_the_reference(name, tmp_path):
    spec = tcnzoo.load_spec(CASES[name])
    shape = (2, *spec.signal_shape(341, 3))  # longer than the chunks that `run` cuts it into
    path, options = written("c", spec, (1, *shape[1:]), tmp_path, streaming=True)
    assert_close(*ran("c", spec, path, options, shape))


@needs_compiler
@pytest.mark.parametrize("mode", ["add", "concat"])
@pytest.mark.parametrize("per_step", [False, True])
def test_embeddings_are_further_arguments(mode, per_step, tmp_path):
    embeddings = [{"channels": 4, "per_step": per_step}, {"channels": 2}]
    spec = tcnzoo.load_spec({**tcn(gate=True), "embeddings": embeddings, "embedding_mode": mode})
    path, options = written("c", spec, (1, 3, 100), tmp_path, streaming=True)
    assert_close(*ran("c", spec, path, options, (2, 3, 100)))
    header = path.with_suffix(".h").read_text("utf-8")
    arguments = "model_state *s, const float *x, const float *embedding0, const float *embedding1"
    assert f"int model_step({arguments}, float *y);" in header
    assert f"int model_steps({arguments}, int n, float *y);" in header


@needs_compiler
def test_a_hundred_thousand_samples_in_ragged_chunks_equal_the_reference(tmp_path):
    spec = tcnzoo.load_spec(tcn("none", "cumulative", norm="batch_norm", gate=True))
    path, _ = written("c", spec, (1, 3, 100), tmp_path, streaming=True)
    x = noise(1, spec.input_channels, 100_000).astype(np.float32)
    expected = tcnzoo.predict(reference(spec, weights_of(spec)), x)[0].T
    generator, stream, pieces, start = np.random.default_rng(3), Stream(path), [], 0
    while start < x.shape[2]:
        size = int(generator.integers(0, 400))
        pieces.append(stream.steps(x[0, :, start : start + size].T))
        start += size
    assert_close(np.concatenate(pieces), expected)


@needs_compiler
def test_one_sample_at_a_time_equals_many(tmp_path):
    spec = tcnzoo.load_spec(STREAMED["down-down-up-up"])
    path, _ = written("c", spec, (1, 3, 100), tmp_path, streaming=True)
    x = noise(60, 3)
    many, one = Stream(path), Stream(path)
    pieces = [one.steps(x[t : t + 1]) for t in range(len(x))]
    assert {len(piece) for piece in pieces} == {0, 6}
    np.testing.assert_array_equal(np.concatenate(pieces), many.steps(x))


@needs_compiler
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_reset_stream_gives_what_a_new_one_gives(precision, tmp_path):
    spec = tcnzoo.load_spec(STREAMED_TCNS["layer_norm-add-se"]).model_copy(
        update={"embeddings": (), "padding_mode": "replicate"}
    )
    path, _ = written("c", spec, (1, 3, 9), tmp_path, streaming=True, precision=precision)
    stream, x = Stream(path), noise(50, 3)
    first = stream.steps(x)
    assert not np.array_equal(stream.steps(x), first)
    stream.reset()
    np.testing.assert_array_equal(stream.steps(x), first)


@needs_compiler
@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_shows_in_the_output_as_long_as_the_net_sees_it(
    value, precision, tmp_path
):
    spec = tcnzoo.load_spec(tcn(norm="batch_norm"))
    path, _ = written("c", spec, (1, 3, 9), tmp_path, streaming=True, precision=precision)
    x = noise(60, 3)
    x[20, 1] = value
    y = Stream(path).steps(x)
    bad = ~np.isfinite(y).all(axis=1)
    assert bad[20]
    assert not bad[:20].any()
    assert not bad[20 + spec.field().size :].any()


@needs_compiler
def test_a_value_that_is_not_finite_is_one_in_int8_too(tmp_path):
    """A row in int8 that holds NaN has the scale NaN, and gives no number that looks like one."""
    layers = {"one": conv1d(1, out_channels=3), "two": conv1d(1)}
    spec = tcnzoo.load_spec({"kind": "sequential", "layers": layers})
    path, _ = written("c", spec, (1, 3, 9), tmp_path, streaming=True, precision="int8")
    x = noise(5, 3)
    x[2, 1] = np.nan
    y = Stream(path).steps(x)
    assert np.isnan(y[2]).all()
    assert np.isfinite(np.delete(y, 2, axis=0)).all()


# --- Programs made by hand ------------------------------------------------------------------------


def signals(*channels):
    return [Signal(index, width) for index, width in enumerate(channels)]


def compile_program(program, folder):
    """A stream through a program without weights."""
    text = source(program, "net", "A net", int8=False)
    (folder / "net.c").write_text(text.code, "utf-8")
    (folder / "net.h").write_text(text.header, "utf-8")
    return Stream(folder / "net.c")


@needs_compiler
def test_a_net_may_give_its_input(tmp_path):
    (x,) = signals(3)
    x_of = noise(7, 3).astype(np.float32)
    stream = compile_program(Program((x,), frozenset(), (), x, {}), tmp_path)
    np.testing.assert_array_equal(stream.steps(x_of), x_of)


@needs_compiler
def test_signals_that_are_read_late_are_kept(tmp_path):
    x, first, last, doubled, y = signals(4, 2, 2, 2, 6)
    operations = (
        Select(x, first, 0),
        Select(x, last, 2),
        Merge(first, doubled, (first, last), "add"),
        Merge(last, y, (doubled, first), "concat"),
    )
    stream = compile_program(Program((x,), frozenset(), operations, y, {}), tmp_path)
    x_of = noise(7, 4).astype(np.float32)
    a, b = x_of[:, :2], x_of[:, 2:]
    np.testing.assert_array_equal(stream.steps(x_of), np.hstack([b, a + a + b, a]))


@needs_compiler
def test_an_output_may_have_more_rows_than_the_input(tmp_path):
    x, y = signals(2, 2)
    stream = compile_program(Program((x,), frozenset(), (Repeat(x, y, 3),), y, {}), tmp_path)
    x_of = noise(4, 2).astype(np.float32)
    np.testing.assert_array_equal(stream.steps(x_of), np.repeat(x_of, 3, axis=0))


# --- The file -------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_nothing_is_allocated(precision, tmp_path):
    layers = {"tcn": tcn("none", "cumulative", gate=True), "mamba": {**mamba2(), "channels": 6}}
    spec = tcnzoo.load_spec({"kind": "sequential", "layers": layers})
    written("c", spec, (1, 3, 9), tmp_path, streaming=True, precision=precision)
    build(tmp_path, "-O2", "-c", "model.c")
    allowed = {"memcpy", "memset", "memmove", "expf", "log1pf", "sqrtf", "fabsf"}
    assert undefined(tmp_path, "model.o") <= allowed | {"_GLOBAL_OFFSET_TABLE_"}


@needs_compiler
def test_an_allocation_would_be_noticed(tmp_path):
    (tmp_path / "a.c").write_text(
        "#include <stdlib.h>\nvoid *f(void);\nvoid *f(void) { return malloc(3); }\n"
    )
    build(tmp_path, "-c", "a.c")
    assert "malloc" in undefined(tmp_path, "a.o")


MAIN = """\
#include <stdio.h>
#include "one.h"
#include "two-nets.h"

static one_state a;
static two_nets_state b;

int main(void)
{
    const float x[6] = {0.5f, -1.0f, 2.0f, 0.25f, 1.5f, -0.5f};
    float y[2 * ONE_OUTPUTS * ONE_MOST], z[2 * TWO_NETS_OUTPUTS * TWO_NETS_MOST];
    one_reset(&a);
    two_nets_reset(&b);
    const int rows = one_steps(&a, x, 2, y), others = two_nets_steps(&b, x, 2, z);
    for (int i = 0; i < rows * ONE_OUTPUTS; i++)
        printf("%.9g ", (double)y[i]);
    for (int i = 0; i < others * TWO_NETS_OUTPUTS; i++)
        printf("%.9g ", (double)z[i]);
    printf("%d %d\\n", (int)sizeof a, (int)sizeof b);
    return 0;
}
"""


@needs_compiler
def test_two_nets_in_one_program_do_not_clash(tmp_path):
    specs = {"one.c": tcn("none", "cumulative"), "two-nets.c": mamba2()}
    x = np.array([[0.5, 0.25], [-1.0, 1.5], [2.0, -0.5]], np.float32)[None]
    expected, sizes = [], []
    for name, spec in specs.items():
        report = tcnzoo.export(model(spec), tmp_path / name, input_length=9)
        assert report.passed
        facts = compiled.facts_of(tmp_path / name)
        sizes.append(facts["ram"])
        expected += list(tcnzoo.predict(reference(spec, weights_of(spec)), x)[0].T.ravel())
    (tmp_path / "main.c").write_text(MAIN, "utf-8")
    build(tmp_path, "main.c", *specs, "-o", "main", "-lm")
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True)
    words = done.stdout.split()
    assert_close(np.array(words[:-2], float), np.array(expected))
    assert list(map(int, words[-2:])) == sizes  # sizeof is what the header and the report say


@pytest.mark.parametrize(
    "stem, name",
    [
        ("net", "net"),
        ("tcn-base", "tcn_base"),
        ("a.b c", "a_b_c"),
        ("3d", "net_3d"),
        ("_x", "x"),
        ("größe", "gr_e"),
        ("--", "net"),
        ("int", "int"),
    ],
)
def test_names_are_identifiers_of_c(stem, name):
    assert identifier(stem) == name
    assert re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name)


def test_the_header_says_where_the_state_is(tmp_path):
    spec = tcnzoo.load_spec(STREAMED["up-down-se"])
    path, _ = written("c", spec, (1, 3, 9), tmp_path, streaming=True)
    facts = compiled.facts_of(path)
    header = path.with_suffix(".h").read_text("utf-8")
    # The mean in double holds what the entry `mean_low` rounds off.
    assert set(spec.state()) - set(facts["state"]) == {"se.mean_low"}
    for entry, field in facts["state"].items():
        size = f"[{' * '.join(map(str, field['shape']))}]" if field["shape"] else ""
        assert f"    {field['type']} {field['field']}{size}; /* {entry}: " in header


def test_sizes_are_in_the_report_and_in_the_file(tmp_path):
    report = tcnzoo.export(classifier(), tmp_path / "net.c", input_length=20)
    facts = compiled.facts_of(tmp_path / "net.c")
    parameters = 3 * 5 * 32 + 5 * 32 * 32 * 5 + 6 * 32 + 3 * 32 + 32 + 32 * 4 + 4
    assert facts["flash"] == 4 * parameters
    assert facts["multiply_adds"] == 3 * 5 * 32 + 5 * 32 * 32 * 5 + 3 * 32 + 32 * 4
    sentence = (
        f"flash {facts['flash']:,} bytes of constants, RAM {facts['ram']:,} bytes, "
        f"{int(facts['multiply_adds']):,} multiply-adds a sample"
    )
    assert report.notes[0] == sentence
    files = [tmp_path / "net.c", tmp_path / "net.h"]
    assert report.size == sum(file.stat().st_size for file in files)
    total = next(
        line for line in files[0].read_text().splitlines() if line.split()[:1] == ["total"]
    )
    products = int(facts["multiply_adds"])
    numbers = [facts["flash"], facts["ram"], products, products]
    assert total.split()[1:] == [f"{number:,}" for number in numbers]


def streaming_deepepi():
    """DeepEpi as docs/c.md makes it stream."""
    spec = tcnzoo.load_spec("deepepi").model_dump()
    for name, layer in spec["layers"].items():
        if name.startswith("conv"):
            layer["padding"] = "causal"
    pool = {"kind": "window_pool", "mode": "average", "size": 94, "stride": 1, "channels": 64}
    spec["layers"]["pool"] = pool
    return tcnzoo.load_spec(spec)


@needs_compiler
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_streaming_deepepi_has_the_sizes_of_the_table(precision, tmp_path):
    options = {"precision": precision, "input_length": 1500, "samples": 1}
    report = tcnzoo.export(model(streaming_deepepi()), tmp_path / "net.c", **options)
    assert report.passed
    assert_documented(compiled.facts_of(tmp_path / "net.c"), precision)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("name", ["tcn-base", "tcn-se-gated"])
def test_sizes_of_presets_are_those_of_the_table(name, precision, tmp_path):
    written("c", name, (1, 8, 9), tmp_path, streaming=True, precision=precision)
    assert_documented(compiled.facts_of(tmp_path / "model.c"), precision)


def assert_documented(facts, precision):
    """Hold that docs/c.md has a row of these sizes."""
    text = (ROOT / "docs" / "c.md").read_text("utf-8")
    sizes = f"| {precision} | {facts['flash']:,} | {facts['ram']:,} |"
    products = f" {int(facts['multiply_adds']):,} | {facts['multiply_adds_at_most']:,} |"
    assert sizes + (products if precision == "float32" else "") in text


def test_kernels_are_cut_into_panels_that_hold_every_value_once():
    assert [panels(width) for width in (1, 6, 64, 37)] == [[1], [4, 2], [32, 32], [32, 4, 1]]
    assert sorted(WIDTHS, reverse=True) == list(WIDTHS)
    weight = np.arange(37 * 3 * 2, dtype=np.float32).reshape(37, 3, 2)
    flat = in_panels(weight)
    assert flat[32 * 6 : 32 * 6 + 4].tolist() == weight[32:36, 0, 0].tolist()
    assert sorted(flat) == sorted(weight.ravel())


# --- int8 -----------------------------------------------------------------------------------------


def test_a_kernel_in_int8_is_near_itself():
    weight = noise(5, 3, 7).astype(np.float32)
    weight[2] = 0.0
    whole, scale = quantised(weight)
    assert whole.dtype == np.int8
    assert np.abs(whole).max(axis=(1, 2)).tolist() == [127, 127, 0, 127, 127]
    error = np.abs(whole * scale[:, None, None] - weight)
    assert (error <= 0.5001 * scale[:, None, None]).all()


@needs_compiler
def test_int8_chooses_the_class_of_float_at_500_inputs(tmp_path):
    source_model = model(classifier())
    report = tcnzoo.export(source_model, tmp_path / "net.c", precision="int8", input_length=40)
    (random,) = report.comparisons
    assert random.shape == (500, 3, 40)
    assert random.agreement >= 0.98
    assert report.passed
    assert report.notes[1] == "6 kernels are int8"
    float32 = tcnzoo.export(source_model, tmp_path / "float.c", input_length=40)
    sizes = [compiled.facts_of(tmp_path / name) for name in ("net.c", "float.c")]
    # The kernels that read the input, biases and scales stay float32.
    assert float32.passed
    assert 0.25 < sizes[0]["flash"] / sizes[1]["flash"] < 0.32
    assert 0.25 < sizes[0]["ram"] / sizes[1]["ram"] < 0.45


@needs_compiler
@pytest.mark.parametrize("name", ["up-down-se", "down-mamba2-up", "graph-up", "mixed-kernels"])
def test_int8_is_near_the_reference(name, tmp_path):
    spec = tcnzoo.load_spec(CASES[name])
    path, options = written("c", spec, (1, 3, 9), tmp_path, streaming=True, precision="int8")
    y, expected = ran("c", spec, path, options, (2, 3, 100))
    assert 1e-5 < np.abs(y - expected).max() / max(1.0, np.abs(expected).max()) < 0.03


def test_kernels_that_read_the_input_stay_float32(tmp_path):
    """Sensors have offsets: acceleration lies around 1 g, and moves by less."""
    path, _ = written("c", classifier(), (1, 3, 9), tmp_path, streaming=True, precision="int8")
    kinds = {
        name: kind
        for kind, name in re.findall(r"static const (\w+) model_(kernel_w_\d+)\[", path.read_text())
    }
    # Of the first block: both convolutions, and the residual one.
    assert [kinds[f"kernel_w_{number}"] for number in (0, 1, 2)] == ["float", "int8_t", "float"]


def test_int8_without_a_kernel_for_it_is_refused(tmp_path):
    sentence = (
        "this model has no kernel that int8 is for: those that read the input, or that have "
        "groups, stay float32; export it with precision float32"
    )
    options = {"precision": "int8", "input_length": 9}
    assert_refused(InputError, sentence, tcnzoo.export, conv1d(), tmp_path / "a.c", **options)
    assert not list(tmp_path.iterdir())


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, options, sentence",
    [
        (
            "a.c",
            {"batch_size": 2},
            "a C file holds one stream at a time, but batch_size is 2; leave it out",
        ),
        ("a.c", {"rank": 4}, "export to 'c' has no rank 4; leave it out"),
        ("a.c", {"precision": "float16"}, "export to 'c' writes float32, int8, but not 'float16'"),
        (
            "a.c",
            {"vectors": True},
            "export to 'c' writes one step of a stream of signals, but the model shall take "
            "vectors, which are no stream",
        ),
        (
            "A.C",
            {},
            "a C file needs a name in .c without quotes or backslashes, which its code names, "
            "but got 'A.C'",
        ),
        (
            'a"b.c',
            {},
            "a C file needs a name in .c without quotes or backslashes, which its code names, "
            "but got 'a\"b.c'",
        ),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(name, options, sentence, tmp_path):
    assert_refused(InputError, sentence, tcnzoo.export, conv1d(), tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_another_ending_is_refused(tmp_path):
    path = tmp_path / "a.cpp"
    sentence = f"export to 'c' is written to a name in .c, but got {str(path)!r}"
    assert_refused(InputError, sentence, tcnzoo.export, conv1d(), path, to="c")


def test_a_model_that_cannot_stream_says_why(tmp_path):
    sentence = (
        "this model cannot stream: pool: mode 'global_average' needs the whole signal, so it "
        "cannot stream"
    )
    assert_refused(InputError, sentence, tcnzoo.export, "deepepi", tmp_path / "a.c")


def test_a_block_without_a_step_in_c_is_named(tmp_path):
    spec = tcnzoo.load_spec(STREAMED["conv-codes"])
    sentence = (
        "a C file cannot hold this sequential: codes is a residual_vq, which has no step as a "
        "list of operations; export to onnx"
    )
    assert_refused(SpecError, sentence, tcnzoo.export, spec, tmp_path / "a.c")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_refused(tmp_path):
    spec = tcnzoo.load_spec(conv1d())
    weights = weights_of(spec)
    weights["bias"][1] = np.nan
    broken = tcnzoo.create(spec, "numpy", weights=weights)
    sentence = "weight 'bias' holds NaN or infinity, which a C file does not take"
    assert_refused(WeightError, sentence, tcnzoo.export, broken, tmp_path / "a.c")


# --- Both files, or none --------------------------------------------------------------------------


def test_a_header_that_is_there_is_not_replaced(tmp_path):
    (tmp_path / "a.h").write_text("mine")
    with pytest.raises(InputError, match=r"a\.h' exists already"):
        tcnzoo.export(conv1d(), tmp_path / "a.c", input_length=9)
    assert [file.name for file in tmp_path.iterdir()] == ["a.h"]
    tcnzoo.export(conv1d(), tmp_path / "a.c", input_length=9, overwrite=True)
    assert "a_step" in (tmp_path / "a.h").read_text()


def test_a_failure_leaves_both_files_as_they_were(monkeypatch, tmp_path):
    for name in ("a.c", "a.h"):
        (tmp_path / name).write_text("mine")

    def fail(*args):
        raise WeightError("no")

    monkeypatch.setattr(get_exporter("c"), "can_run", lambda: None)
    monkeypatch.setattr(get_exporter("c"), "load", fail)
    with pytest.raises(WeightError):
        tcnzoo.export(conv1d(), tmp_path / "a.c", input_length=9, overwrite=True)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "a.c": "mine", "a.h": "mine",
    }  # fmt: skip


def test_without_a_compiler_the_report_says_that_the_file_was_not_run(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    report = tcnzoo.export(conv1d(), tmp_path / "a.c", input_length=9)
    assert report.comparisons == ()
    assert report.notes[1] == (
        "not compared: there is no C compiler (cc) on this machine, so the file was not run"
    )
    assert (tmp_path / "a.h").exists()


@needs_compiler
def test_a_file_that_does_not_compile_is_one_sentence(tmp_path):
    path, options = written("c", conv1d(), (1, 3, 9), tmp_path, streaming=True)
    path.write_text("#error no\n")
    with pytest.raises(WeightError, match=r"^cc does not compile '.*model\.c': .*#error no"):
        get_exporter("c").run(path, noise(1, 3, 9).astype(np.float32), options)


@needs_compiler
def test_command_runs_the_file(tmp_path):
    x = noise(1, 3, 37)
    np.save(tmp_path / "x.npy", x)
    report = tcnzoo.export(model(conv1d()), tmp_path / "it's.c", inputs=x)
    assert report.passed
    command = report.command.replace("python ", f"{sys.executable} ", 1)
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first = float(done.stdout.partition("[[")[2].split()[0])
    expected = tcnzoo.predict(model(conv1d()), x)[0, 0, 0]
    assert first == pytest.approx(expected, abs=1e-3)  # printed with few digits


def test_the_command_line_writes_both_files(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["export", "tcn-base", "--to", "c", "--json"])
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["format"] == "c"
    assert report["notes"][0].startswith("flash 473,376 bytes of constants, RAM 24,992 bytes, ")
    assert {file.name for file in tmp_path.iterdir()} == {"tcn-base.c", "tcn-base.h"}
