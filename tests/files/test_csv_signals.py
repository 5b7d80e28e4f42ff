"""Signals in .csv files: a row is read as the numbers that it holds, or refused by its line."""

import codecs

import numpy as np
import pytest
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.cli import app
from tcnzoo.errors import InputError
from tcnzoo.files.signals import read_signal, write_signal
from tcnzoo.training.data.config import WindowsData
from tcnzoo.training.data.windows import window_dataset

# Steps of 3 channels, all exact in binary.
STEPS = np.array([[i, i + 0.5, -(i + 0.25)] for i in range(6)])
ROWS = [",".join(f"{value:.2f}" for value in step) for step in STEPS]
TEXT = "\n".join(ROWS) + "\n"
DECIMAL_COMMAS = TEXT.replace(",", ";").replace(".", ",")

READ = {
    "plain": TEXT,
    "without a last line end": TEXT[:-1],
    "names": "a,b,c\n" + TEXT,
    "names as numpy writes them": "# a,b,c\n" + TEXT,
    "names in other letters": "α,β,µV\n" + TEXT,
    "names that hold a semicolon": '"a;b",c,d\n' + TEXT,
    "CRLF": TEXT.replace("\n", "\r\n"),
    "CR": TEXT.replace("\n", "\r"),
    "empty lines at the end": TEXT + "\n\r\n  \n",
    "semicolons": TEXT.replace(",", ";"),
    "semicolons and names": "a;b;c\n" + TEXT.replace(",", ";"),
    "decimal commas": DECIMAL_COMMAS,
    "decimal commas and names": "a;b;c\n" + DECIMAL_COMMAS,
    "separators at the ends": TEXT.replace("\n", ",\n"),
    "separators at the ends, but not of the names": "a,b,c\n" + TEXT.replace("\n", ", ,\n"),
    "separators at the end of the names": "a,b,c,,\n" + TEXT,
    "quoted": "\n".join(",".join(f'"{one}"' for one in row.split(",")) for row in ROWS),
    "spaces and tabs": TEXT.replace(",", " ,\t"),
    "exponents": "\n".join(",".join(f"{value:+.4E}" for value in step) for step in STEPS),
    "UTF-8 with a mark": codecs.BOM_UTF8 + TEXT.encode(),
    "UTF-8 with a mark and names": codecs.BOM_UTF8 + ("a,b,c\n" + TEXT).encode(),
    "UTF-16, little-endian": codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    "UTF-16, big-endian": codecs.BOM_UTF16_BE + DECIMAL_COMMAS.encode("utf-16-be"),
    "UTF-32": TEXT.encode("utf-32"),
}


def file_of(folder, content):
    path = folder / "x.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("content", READ.values(), ids=READ.keys())
def test_every_step_is_read(content, tmp_path):
    found = read_signal(file_of(tmp_path, content))
    assert found.dtype == np.float32
    assert np.array_equal(found, STEPS.T)


# No numbers, whatever Python's float says of them.
NO_NUMBERS = (
    *("", " ", "-", "--", "?", "NA", "N/A", "nan", "NaN", "None", "null", "inf", "-Infinity"),
    *("1_000", "0x1F", "1e999", "1e39", "1.5.2", "1,5", "1 000", "5%", "1e", "1:30", "x", "e5"),
    *("\u0661", "\uff11", "\u22121", "\ufeff1", "12.5mV", "1d3", "0.5f", "2024-01-01"),
)


@pytest.mark.parametrize("cell", NO_NUMBERS, ids=[ascii(cell) for cell in NO_NUMBERS])
@pytest.mark.parametrize("names", ["", "a,b,c\n"], ids=["bare", "named"])
@pytest.mark.parametrize("step", [0, 3, 5])
def test_a_cell_that_is_no_number_is_refused_by_its_line(cell, names, step, tmp_path):
    rows = [row.split(",") for row in ROWS]
    rows[step][1] = f'"{cell}"'
    line = step + 1 + bool(names)
    with pytest.raises(InputError, match=rf": line {line} is not 3 numbers: column 2 is ") as said:
        read_signal(file_of(tmp_path, names + "\n".join(map(",".join, rows))))
    assert "\n" not in str(said.value)


# What pandas, spreadsheets, databases and C's printf write for no value has letters, too.
NO_NAMES = (
    *("", "-", "NA", "nan", "inf", "1_000", "12.5mV", "\u22121", "<NA>", "NaT", "#NA", "#N/A N/A"),
    *("#NUM!", "#VALUE!", "#DIV/0!", "#REF!", "#NAME?", "#NULL!", "(null)", "\\N", "n.a."),
    *("nan(ind)", "-nan(ind)", "undefined"),
)


@pytest.mark.parametrize("cell", NO_NAMES, ids=[ascii(cell) for cell in NO_NAMES])
def test_a_first_row_without_any_number_is_no_row_of_names(cell, tmp_path):
    with pytest.raises(InputError, match="line 1 is not 3 numbers: column 1 is "):
        read_signal(file_of(tmp_path, f"{cell},{cell},{cell}\n" + TEXT))


@pytest.mark.parametrize(
    "content, words",
    [
        ("\n".join([*ROWS[:3], "", *ROWS[4:]]), "line 4 is empty, and the rows"),
        ("\r\n".join([*ROWS[:3], " ", *ROWS[4:]]), "line 4 is empty, and the rows"),
        ("\n" + TEXT, "line 1 is empty, and the rows"),
        ("a,b,c\n\n" + TEXT, "line 2 is empty, and the rows"),
        ("\n".join([*ROWS[:3], ",,", *ROWS[4:]]), "line 4 is not 3 numbers: column 1 is empty"),
        (TEXT + ",,\n", "line 7 is not 3 numbers: column 1 is empty"),
        ('1\n""\n', "line 2 is not 1 numbers: column 1 is empty"),
        ("1,2,3\n1,2\n", "line 2 is not 3 numbers: it has 2 columns"),
        ("1,2,3\n1,2,\n", "line 2 is not 3 numbers: column 3 is empty"),
        ("1,2\n1\n", "line 2 is not 2 numbers: it has 1 column$"),
        ("1,2,\n1,2,3\n", "line 2 is not 2 numbers: it has 3 columns"),
        ("a,b,c\n1,2,3,4\n", "line 2 is not 3 numbers: it has 4 columns"),
        ("a,b,c\n" + TEXT + "d,e,f\n", "line 8 is not 3 numbers: column 1 is 'd'"),
        ("a,b,c\nuV,uV,uV\n" + TEXT, "line 2 is not 3 numbers: column 1 is 'uV'"),
        ("time,1,2\n" + TEXT, "line 1 is not 3 numbers: column 1 is 'time'"),
        (",a,b\n0,1,2\n", "line 1 is not 3 numbers: column 1 is empty"),
        ("0,1,2\n" + TEXT, "line 1 is not 3 numbers: it counts the columns"),
        ("1;2,5\n1.5;2\n", "line 2 is not 2 numbers: column 1 is '1.5'"),
        ("1.000,5;2\n", "line 1 is not 2 numbers: column 1 is '1.000,5'"),
        ("a,b\n1;2\n", "line 2 is not 2 numbers: it has 1 column"),
        ("1 2 3\n4 5 6\n", "line 1 is not 1 numbers: column 1 is '1 2 3'"),
        ('1,"2\n3,4\n', "line 1 cannot be read: unexpected end of data"),
        ('1,2\n3,"4"5\n', "line 2 cannot be read: ',' expected after '\"'"),
        ("1," + "2" * 200_000, "line 1 cannot be read: field larger than field limit"),
        ("", "is empty: its shape is"),
        ("a,b,c\n", "is empty: its shape is"),
        ("\n\n", "is empty: its shape is"),
        (TEXT.encode("utf-16-le"), "is not a text file in UTF-8, or in UTF-16 with a byte-order"),
        (b"\xff\xfe1", "is not a text file"),
        ("°,b,c\n".encode("latin-1") + TEXT.encode(), "is not a text file"),
        (TEXT.encode() + b"\0", "is not a text file"),
    ],
)
def test_rows_that_are_not_whole_are_refused(content, words, tmp_path):
    with pytest.raises(InputError, match=words) as said:
        read_signal(file_of(tmp_path, content))
    assert "\n" not in str(said.value)
    assert len(str(said.value)) < 300


def test_whole_numbers_may_begin_with_0_1_2(tmp_path):
    path = file_of(tmp_path, "0,1,2\n3,4,5\n")
    assert np.array_equal(read_signal(path), [[0, 3], [1, 4], [2, 5]])
    assert np.array_equal(read_signal(file_of(tmp_path, "0,1\n0.5,0.5\n")), [[0, 0.5], [1, 0.5]])
    path = file_of(tmp_path, "a,b,c\n0,1,2\n0.5,1.5,2.5\n")
    assert np.array_equal(read_signal(path), [[0, 0.5], [1, 1.5], [2, 2.5]])


def test_values_are_rounded_to_float32_once(tmp_path):
    values = np.random.default_rng(1).standard_normal((50, 4)) * 10.0 ** np.arange(-6, 6, 3)
    path = tmp_path / "x.csv"
    np.savetxt(path, values, delimiter=";", fmt="%.17g")
    assert np.array_equal(read_signal(path), values.T.astype(np.float32))


def test_what_is_written_is_read(tmp_path):
    signal = np.random.default_rng(2).standard_normal((3, 17)).astype(np.float32)
    write_signal(tmp_path / "x.csv", signal)
    assert np.array_equal(read_signal(tmp_path / "x.csv"), signal)


@pytest.mark.parametrize("command", ["predict", "stream", "segment", "demo"])
def test_commands_refuse_a_lost_step(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = {"kind": "tcn", "in_channels": 3, "channels": [4], "kernel_size": 2}
    tcnzoo.save(tcnzoo.create(spec, "numpy"), "net")
    path = str(file_of(tmp_path, "\n".join([*ROWS[:3], "", *ROWS[4:]])))
    words = {
        "segment": ["segment", "net", path, "--backend", "numpy"],
        "demo": ["demo", "--input", path, "--rate", "2"],
    }.get(command, [command, "net", "--input", path, "--backend", "numpy"])
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "line 4 is empty, and the rows" in result.stderr


def test_windows_of_training_read_tables_as_commands_do(tmp_path):
    np.save(tmp_path / "y.npy", np.arange(6) % 2)
    recording = {"x": str(tmp_path / "x.csv"), "y": str(tmp_path / "y.npy")}
    config = WindowsData(recordings=[recording], window=3)
    file_of(tmp_path, codecs.BOM_UTF8 + DECIMAL_COMMAS.encode())
    x = window_dataset(config).batch(np.arange(2))["x"]
    assert np.array_equal(x, [STEPS.T[:, :3], STEPS.T[:, 3:]])
    file_of(tmp_path, "\n".join([*ROWS[:3], "", *ROWS[3:]]))
    with pytest.raises(InputError, match="line 4 is empty, and the rows after it would move"):
        window_dataset(config)
