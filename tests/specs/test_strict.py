"""Documents of specs: read strictly, within bounds, and described in time that grows with them."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import tcnzoo
from tcnzoo.errors import InputError, SpecError, WeightError, number_text
from tcnzoo.files import yaml_core
from tcnzoo.files.documents import parse_json, parse_yaml
from tcnzoo.specs import analysis
from tcnzoo.specs.base import MOST_PARTS
from tcnzoo.specs.params import check_memory

# Six levels of aliases: a million values once they are written out.
BOMB = "a: &a [1, 2]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, after in zip("abcdef", "bcdefg", strict=True)
)
TCN = "kind: tcn\nin_channels: 3\nchannels: [4]\n"


@pytest.mark.parametrize(
    "text, value",
    [
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("y", "y"), ("true", True), ("False", False),
        ("20:30", "20:30"), ("1:2:3", "1:2:3"), ("010", 10), ("0o10", 8), ("0x1F", 31), ("+12", 12),
        ("1_000", "1_000"), ("1e-5", 1e-5), ("1.e3", 1e3), (".5", 0.5), ("-.inf", float("-inf")),
        ("2022-01-01", "2022-01-01"), ("null", None), ("~", None), ("", None), ("'3'", "3"),
        ("0b11", "0b11"), ("12e03", 12e3), ("=", "="),
    ],
)  # fmt: skip
def test_words_and_numbers_are_those_of_yaml_1_2(text, value):
    found = parse_yaml(f"a: {text}\n")["a"]
    assert found == value
    assert type(found) is type(value)


def test_mappings_are_merged_and_keys_in_them_overridden():
    text = "base: &base {k: 1, j: 2}\nother: {<<: *base, k: 3}\n"
    assert parse_yaml(text)["other"] == {"k": 3, "j": 2}


def test_types_may_be_written():
    text = "a: !!bool True\nb: !!int 0x1F\nc: !!float 3\nd: !!str 3\ne: !!null x\nf: !!float .INF\n"
    expected = {"a": True, "b": 31, "c": 3.0, "d": "3", "e": None, "f": float("inf")}
    found = parse_yaml(text)
    assert found == expected
    assert list(map(type, found.values())) == list(map(type, expected.values()))
    assert parse_yaml(f"a: 0.{'1' * 60}") == {"a": 1 / 9}


def test_of_several_merged_mappings_the_first_counts():
    text = (
        "one: &one {a: 1, b: 1}\ntwo: &two {<<: *one, b: 2, c: 2}\n"
        "all: {<<: [*two, *one, {c: 3, d: 3}], d: 4}\n"
    )
    assert parse_yaml(text)["all"] == {"a": 1, "b": 2, "c": 2, "d": 4}


def test_merged_mappings_are_bounded(monkeypatch):
    monkeypatch.setattr(yaml_core, "MOST_IN_YAML", 20)
    text = "a: &a {b: 1, c: 2}\nd: [{<<: *a}, {<<: *a}, {<<: [*a, *a]}]\n"
    assert len(parse_yaml(text)["d"]) == 3
    text = f"a: &a {{b: 1, c: 2}}\nd: {{<<: [{', '.join(['*a'] * 12)}]}}\n"
    with pytest.raises(ValueError, match="more than 20 values are merged"):
        parse_yaml(text)
    with pytest.raises(ValueError, match="it holds more than 20 values$"):
        parse_yaml(f"[{'1, ' * 20}2]")


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_a_file_of_another_kind_is_not_waited_for(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    os.mkfifo(path)
    with pytest.raises(InputError, match="no spec at"):
        tcnzoo.load_spec(path)


def test_of_a_file_that_is_too_long_no_more_is_read(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("# ")
    os.truncate(path, 2**40)  # it takes no room
    with pytest.raises(SpecError, match="YAML of more than 524,288 characters is not read"):
        tcnzoo.load_spec(path)


@pytest.mark.parametrize(
    "text, sentence",
    [
        (TCN + "channels: [5]\n", "the key 'channels' stands twice, in line 3 and line 4"),
        ("a: {b: 1, b: 2}\n", "the key 'b' stands twice, in line 1 and line 1"),
        ("a: &a [*a]\n", "nested more than"),
        ("a: " + "[" * 80 + "]" * 80, "nested more than"),
        ("a: " + "9" * 5000, "a number of 5000 digits"),
        ("a: [1, 2\n", "expected ',' or ']'"),
        ("a: !!python/object:builtins.int {}\n", "could not determine a constructor for the tag"),
        ("a: !!timestamp 2\n", "could not determine a constructor for the tag"),
        ("a: !!set {b}\n", "could not determine a constructor for the tag"),
        ("a: !!bool maybe\n", "'maybe' is not a value of type bool in line 1, column 4"),
        ("a: !!int 3.5\n", "'3.5' is not a value of type int in line 1, column 4"),
        (f"a: !!float {'x' * 5000}\n", "xxx...' is not a value of type float"),
        (f"a: !{'x' * 5000} 3\n", "could not determine a constructor for the tag"),
        ("a: {<<: 3}\n", "'<<' must name a mapping or a list of mappings"),
        ("a: &a {<<: *a, b: 1}\n", "nested more than 64 levels"),
        ("a: 1\n---\nb: 2\n", "found another document in line 2"),
        ("a: " + "x" * 2**19, "YAML of more than 524,288 characters is not read"),
        (BOMB, "holds more than 100,000 values"),
    ],
)  # fmt: skip
def test_what_yaml_may_not_hold(text, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        parse_yaml(text)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text, sentence",
    [
        ('{"a": 1, "a": 2}', "the key 'a' stands twice in one mapping"),
        ('{"a": {"b": 1, "c": 2, "b": 3}}', "the key 'b' stands twice in one mapping"),
        ('{"a": NaN}', "it holds NaN, which is no JSON"),
        ('{"a": -Infinity}', "it holds -Infinity, which is no JSON"),
        ('{"a": ' + "9" * 41 + "}", "a number of 41 digits"),
        ("[" * 80 + "]" * 80, "nested more than 64 levels"),
        ("[" * 100_000, "nested more than 64 levels"),
        ('{"a": 1,}', "in line 1, column 9"),
    ],
)
def test_what_json_may_not_hold(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_json(text)


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_a_byte_order_mark_is_no_part_of_a_document(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_text('\ufeff{"kind": "batch_norm", "channels": 3}', encoding="utf-8")
    assert tcnzoo.load_spec(path).channels == 3


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "batch_norm", "channels": 3, "eps": float("inf")},
        {"kind": "layer_norm", "channels": 3, "eps": float("nan")},
        {"kind": "activation", "name": "leaky_relu", "negative_slope": float("inf")},
    ],
)
def test_numbers_of_a_spec_are_finite(document):
    with pytest.raises(SpecError):
        tcnzoo.load_spec(document)


@pytest.mark.parametrize(
    "document",
    [
        {"kind": ["x"] * 1000},
        {"kind": "x" * 100_000},
        {"kind": "tcn", "in_channels": "9" * 400, "channels": [4]},
        {"kind": "tcn", "in_channels": 3, "channels": [4], "y" * 100_000: 1},
        {"kind": "tcn", "in_channels": 3, "channels": {"a": ["b"] * 10_000}},
        {"kind": "tcn", "in_channels": 3, "channels": [4] * (MOST_PARTS + 1)},
        {"kind": "bi_mamba2", "channels": 4, "layers": 10**8},
        {"kind": "residual_vq", "levels": 10**9, "quantizer": {"channels": 3, "codes": 4}},
    ],
)
def test_large_values_are_refused_in_a_short_sentence(document):
    with pytest.raises(SpecError) as caught:
        tcnzoo.load_spec(document)
    assert len(str(caught.value)) < 1000


# A model that does not fit, and ones that take long to describe


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "conv1d", "in_channels": 10**5, "out_channels": 10**5, "kernel_size": 10},
        {"kind": "dense", "in_features": 10**25, "out_features": 3},
        {"kind": "hsmm", "states": 10**6, "channels": 4, "max_duration": 10**5},
    ],
)
def test_a_model_beyond_the_memory_is_refused(document):
    with pytest.raises(InputError, match=r"the model has .* values, in float32 .* GiB of memory"):
        tcnzoo.create(document, "numpy")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to a limit")
def test_the_limit_of_the_process_counts():
    table = tcnzoo.load_spec(
        {"kind": "dense", "in_features": 2**14, "out_features": 2**14, "bias": False}
    ).params()
    check_memory(table)
    code = (
        "import resource, tcnzoo\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({2**31}, {2**31}))\n"
        "tcnzoo.create(dict(kind='dense', in_features=2**14, out_features=2**14), 'numpy')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=os.getcwd()
    )
    assert "InputError: the model has 268,451,840 values" in done.stderr


CAUSAL = {"kind": "conv1d", "in_channels": 2, "out_channels": 2, "kernel_size": 2}


@pytest.mark.parametrize(
    "document, what",
    [
        ({"kind": "pad", "left": 10**12}, "output"),
        ({"kind": "upsample", "factor": 10**30}, "output"),
        ({"kind": "pool", "mode": "adaptive_max", "output_size": 10**12}, "output"),
        (CAUSAL | {"dilation": 10**30, "padding": "causal"}, "part"),
        (CAUSAL | {"dilation": 10**12, "padding": "same"}, "part"),
        ({"kind": "tcn", "in_channels": 2, "channels": [2] * 60}, "part"),
        ({"kind": "hsmm", "states": 3, "max_duration": 10**12, "channels": 2}, "part"),
    ],
)
def test_signals_beyond_the_memory_are_refused(backend, document, what):
    model = tcnzoo.create(document, backend)
    with pytest.raises(InputError, match=rf"{what} .* bytes, but there are .* GiB of memory"):
        tcnzoo.predict(model, np.zeros((1, 2, 8), np.float32))


def test_states_beyond_the_memory_are_refused(backend):
    model = tcnzoo.create(CAUSAL | {"dilation": 10**30, "padding": "causal"}, backend)
    with pytest.raises(InputError, match="the state of the stream has .* GiB of memory"):
        tcnzoo.init_state(model)


def nested(depth, kind):
    """Stacks within stacks."""
    document = {"kind": "batch_norm", "channels": 3}
    for _ in range(depth):
        if kind == "sequential":
            document = {"kind": kind, "layers": {"a": document}}
        else:
            document = {"kind": kind, "in_channels": 3, "nodes": {"a": {"layer": document}}}
    return document


@pytest.mark.parametrize("kind", ["sequential", "graph"])
def test_stacks_within_stacks_are_asked_once_each(kind, monkeypatch):
    count = [0]
    one = type(tcnzoo.load_spec({"kind": "batch_norm", "channels": 3}))
    original = one.input_channels.fget

    def counted(self):
        count[0] += 1
        return original(self)

    monkeypatch.setattr(one, "input_channels", property(counted))
    calls = []
    for depth in (5, 10):
        count[0] = 0
        analysis.describe(tcnzoo.load_spec(nested(depth, kind)))
        calls.append(count[0])
    # Doubled depth may cost four times as much; it cost 32 times when each level asked twice.
    assert calls[1] <= 5 * calls[0]


def test_a_tower_of_thousands_is_described():
    deep = tcnzoo.load_spec({"kind": "tcn", "in_channels": 1, "channels": [2] * 1000})
    found = analysis.describe(deep)
    # Each block of two convolutions with kernel 4 and dilation 2^i adds 6 * 2^i steps.
    assert found.receptive_field == 1 + 6 * (2**1000 - 1)
    assert number_text(found.receptive_field) == "6.429e+301"


@pytest.mark.parametrize(
    "number, text",
    [(0, "0"), (1234, "1,234"), (10**15 - 1, "999,999,999,999,999"), (10**15, "1.000e+15")],
)
def test_numbers_in_sentences(number, text):
    assert number_text(number) == text


# Two descriptions in one directory


@pytest.mark.parametrize("field, value", [("eps", 0.5), ("channels", 5)])
def test_an_edited_description_is_refused_by_all_who_read_it(tmp_path, field, value):
    spec = {"kind": "layer_norm", "channels": 4}
    tcnzoo.save(tcnzoo.create(spec, "numpy"), tmp_path / "net")
    path = tmp_path / "net" / "config.json"
    document = json.loads(path.read_text())
    document["spec"][field] = value
    path.write_text(json.dumps(document))
    sentence = rf"config.json' says spec.{field}={value}, but the tensors beside it were saved with"
    for read in (tcnzoo.load_spec, lambda place: tcnzoo.load(place, "numpy")):
        with pytest.raises(WeightError, match=sentence):
            read(tmp_path / "net")
    path.unlink()
    whole = tcnzoo.load_spec(spec)
    assert (
        tcnzoo.load_spec(tmp_path / "net") == tcnzoo.load(tmp_path / "net", "numpy").spec == whole
    )


def test_a_description_with_a_key_twice_is_refused(tmp_path):
    tcnzoo.save(tcnzoo.create({"kind": "layer_norm", "channels": 4}, "numpy"), tmp_path / "net")
    path = tmp_path / "net" / "config.json"
    path.write_text(path.read_text().replace('"channels": 4', '"channels": 4, "channels": 5'))
    for read in (tcnzoo.load_spec, lambda place: tcnzoo.load(place, "numpy")):
        with pytest.raises(WeightError, match="the key 'channels' stands twice"):
            read(tmp_path / "net")
