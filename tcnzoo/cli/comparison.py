"""The tables that `tcnzoo compare` prints."""

from typing import Any

from tcnzoo.cli import console
from tcnzoo.verification.compare import ComparisonTable, Row

# Short, so that three models fit 80 columns; a blank and two are headings of their own.
HEADINGS = ("M", "GMAC", "kept", "fwd", "trn", "fwd s", "x", "trn s", "x ")
LEGEND = """\
M: millions of trained parameters; GMAC: billions of multiply-accumulates
kept: MB kept for the backward pass; fwd, trn: MiB added to the peak of memory
fwd s, trn s: seconds of a forward pass and of a training step
x: that time relative to the first model's, as a median over the rounds"""


def show_comparison(comparison: ComparisonTable) -> None:
    """Print one table for each form and backend, and below them what the headings mean."""
    headings = {"model": "left"} | dict.fromkeys(HEADINGS, "right")
    shape = " x ".join(map(str, comparison.input_shape))
    for form, backend in dict.fromkeys((row.form, row.backend) for row in comparison.rows):
        measured = [row for row in comparison.rows if (row.form, row.backend) == (form, backend)]
        where = f"{backend} on {comparison.device}" if comparison.device else backend
        title = f"{form}, {where}: input {shape}, {comparison.rounds} rounds"
        console.table(headings, [_cells(row) for row in measured], title)
        console.show()
    console.show(LEGEND)


def _cells(row: Row) -> tuple[Any, ...]:
    """One row of a table."""
    return (
        row.model,
        f"{row.parameters / 1e6:.3g}",
        f"{row.macs / 1e9:.3g}",
        "-" if row.activations is None else f"{row.activations / 1e6:,.0f}",
        f"{row.forward_memory:,.0f}",
        f"{row.training_memory:,.0f}",
        f"{row.forward_seconds:.3g}",
        f"{row.forward_ratio:.2f}",
        f"{row.training_seconds:.3g}",
        f"{row.training_ratio:.2f}",
    )
