"""The report of an evaluation: test_report.json, test_report.txt, and figures of it."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.files.atomic import replacing_in
from tcnzoo.training.evaluation import Evaluation
from tcnzoo.training.event_metrics import EventScores
from tcnzoo.training.report_figures import draw_confusion, draw_thresholds
from tcnzoo.training.scores import POSITIVE, confusion, sweep

THRESHOLDS = tuple(round(0.1 * step, 1) for step in range(1, 10))
FINE = tuple(float(step) for step in np.linspace(0.0, 1.0, 201))
# Shares of the events that are no seizures, for which the sensitivity is reported.
FALSE_SHARES = (0.0, 0.01, 0.02, 0.05, 0.1)
COLUMNS = ("threshold", "tp", "fp", "tn", "fn", "sensitivity", "specificity", "precision", "f1")


def write_report(
    folder: Path,
    evaluation: Evaluation,
    *,
    part: str = "test",
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write `<part>_report.json` and `.txt`, and figures where targets are classes, together.

    These are `confusion.png` and, of two classes, `thresholds.png`; the name of a part other than
    test comes before theirs.

    Args:
        folder: of the run.
        evaluation: of all of the data.
        part: name of the data.
        facts: further lines of the report: checkpoint, backend, seconds.
    Returns:
        what is in the JSON.
    Raises:
        BackendMissing: scikit-learn or matplotlib is not installed.
    """
    document = build_report(evaluation, part, facts or {})
    with replacing_in(folder) as files:
        text = json.dumps(document, indent=2, allow_nan=False) + "\n"
        (files / f"{part}_report.json").write_text(text, encoding="utf-8")
        (files / f"{part}_report.txt").write_text(report_text(document), encoding="utf-8")
        _draw(files, evaluation, document, part)
    return document


def _draw(files: Path, evaluation: Evaluation, document: Mapping[str, Any], part: str) -> None:
    """Draw the figures that a report has."""
    prefix = "" if part == "test" else f"{part}_"
    if "confusion" in document:
        table = np.array(document["confusion"])
        title = f"Confusion, {part} data"
        draw_confusion(files / f"{prefix}confusion.png", table, evaluation.classes, title)
    if "thresholds" in document:
        labels, positive = evaluation.labels, evaluation.probabilities[:, POSITIVE]
        draw_thresholds(
            files / f"{prefix}thresholds.png",
            labels,
            positive,
            sweep(labels, positive, FINE),
            evaluation.events,
            evaluation.classes,
            f"Thresholds, {part} data",
        )


def build_report(evaluation: Evaluation, part: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The report as a document for JSON."""
    document: dict[str, Any] = {"part": part, **facts, "metrics": evaluation.result()}
    if not evaluation.is_finite:
        return _plained(document)
    if evaluation.is_classes or evaluation.is_binary:
        labels, probabilities = evaluation.labels, evaluation.probabilities
        names = evaluation.classes
        table = confusion(labels, probabilities.argmax(axis=1), len(names))
        document |= {"classes": list(names), "confusion": table.tolist()}
        if evaluation.is_binary:
            document["thresholds"] = sweep(labels, probabilities[:, POSITIVE], THRESHOLDS)
    events = evaluation.events
    if events is not None:
        document["events"] = _events(events)
    return _plained(document)


def _events(events: EventScores) -> dict[str, Any]:
    """Scores of events at each threshold, and at given shares of false alarms."""
    seizures = int((events.labels == 1).sum())
    return {
        "seizures": seizures,
        "others": len(events.labels) - seizures,
        "hours_of_others": events.hours,
        "thresholds": [asdict(events.at(threshold)) for threshold in THRESHOLDS],
        "at_false_share": [
            {"at_most": share} | asdict(events.within(share)) for share in FALSE_SHARES
        ],
    }


def report_text(document: Mapping[str, Any]) -> str:
    """The report as text for readers."""
    lines = [f"Report on {document['part']} data", ""]
    shown = ("metrics", "classes", "confusion", "thresholds", "events", "part")
    facts = {name: value for name, value in document.items() if name not in shown}
    lines += _pairs({name: _shown(value) for name, value in facts.items()})
    lines += _pairs({name: _shown(value) for name, value in document["metrics"].items()})
    if "confusion" in document:
        names = document["classes"]
        table = [[name, *row] for name, row in zip(names, document["confusion"], strict=True)]
        lines += ["Confusion (rows true, columns predicted)", *_table(["", *names], table), ""]
    if "thresholds" in document:
        table = [[row[name] for name in COLUMNS] for row in document["thresholds"]]
        lines += ["Windows or steps at each threshold", *_table(COLUMNS, table), ""]
    if "events" in document:
        lines += _event_lines(document["events"])
    return "\n".join(lines).rstrip() + "\n"


def _event_lines(events: Mapping[str, Any]) -> list[str]:
    """The events' part of the text."""
    hours = events["hours_of_others"]
    length = "" if hours is None else f" ({hours:.2f} h)"
    title = f"Events: {events['seizures']} seizures, {events['others']} others{length}"
    columns = ["threshold", "sensitivity", "false_share", "false_per_hour"]
    table = [[row[name] for name in columns] for row in events["thresholds"]]
    best = [[row[name] for name in ["at_most", *columns]] for row in events["at_false_share"]]
    return [
        title,
        *_table(columns, table),
        "",
        "Events at the lowest threshold that alarms at most so many of the others",
        *_table(["at_most", *columns], best),
    ]


def _pairs(pairs: Mapping[str, str]) -> list[str]:
    """Names and values, one a line, and an empty line after them."""
    width = max((len(name) for name in pairs), default=0)
    return [f"{name:<{width}}  {value}" for name, value in pairs.items()] + [""] * bool(pairs)


def _table(headings: Any, body: list[list[Any]]) -> list[str]:
    """Columns of equal width, numbers to the right."""
    cells = [
        [str(heading) for heading in headings],
        *([_shown(cell) for cell in row] for row in body),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    ]


def _shown(value: Any) -> str:
    """A value of the text."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _plained(document: dict[str, Any]) -> dict[str, Any]:
    """The document in plain types for JSON."""
    plain: dict[str, Any] = _plain(document)
    return plain


def _plain(value: Any) -> Any:
    """A value in plain types: no numpy, and null for NaN and infinity."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
