"""The tables of `tcnzoo compare` are as narrow as a terminal."""

import io

import pytest
from rich.console import Console

from tcnzoo.cli import console
from tcnzoo.cli.comparison import show_comparison
from tcnzoo.verification.compare import ComparisonTable, Row


def _row(model, backend, activations):
    return Row(
        model=model,
        form="without Mamba",
        backend=backend,
        parameters=33_412_345,
        macs=612_345_678_901,
        activations=activations,
        forward_memory=1234.5,
        training_memory=9876.5,
        forward_seconds=0.03456,
        forward_ratio=12.345,
        training_seconds=12.3456,
        training_ratio=0.123,
    )


def test_three_models_fit_80_columns(monkeypatch):
    names = ("seizure-unet-mamba", "seizure-tcn-mamba", "seizure-tcn-fast")
    rows = [_row(name, "torch", 2_345_678_901) for name in names]
    written = io.StringIO()
    monkeypatch.setattr(console, "OUT", Console(file=written, width=80))
    show_comparison(ComparisonTable((1, 19, 15360), None, 5, tuple(rows)))
    lines = written.getvalue().splitlines()
    assert lines[0] == "without Mamba, torch: input 1 x 19 x 15360, 5 rounds"
    assert lines[1].split()[:4] == ["model", "M", "GMAC", "kept"]
    for name, line in zip(names, lines[2:5], strict=True):  # nothing is wrapped
        cells = ["33.4", "612", "2,346", "1,234", "9,876", "0.0346", "12.35", "12.3", "0.12"]
        assert line.split() == [name, *cells]
    assert all(len(line.rstrip()) <= 80 for line in lines)


@pytest.mark.parametrize("activations, text", [(None, "-"), (0, "0")])
def test_bytes_kept_stand_in_the_table(activations, text, monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(console, "OUT", Console(file=written, width=80))
    show_comparison(ComparisonTable((1, 2, 30), "cuda", 1, (_row("a", "keras", activations),)))
    title, _, line, *_ = written.getvalue().splitlines()
    assert "keras on cuda" in title
    assert line.split()[3] == text
