"""Reports and curves: documents that say what was measured, and pictures that show it."""

import json

import numpy as np
import pytest

from tcnzoo.training.curves import draw_curves, read_curves
from tcnzoo.training.evaluation import Evaluation
from tcnzoo.training.losses import CrossEntropy, Mse
from tcnzoo.training.report import write_report
from tests.support.compare import noise

PNG = b"\x89PNG\r\n\x1a\n"


class Windows:
    """What an evaluation asks of its data."""

    classes = ("other", "seizure")
    seconds = 5.0


def detector(count=60, classes=2):
    """An evaluation of a model that is mostly right, over events of six windows."""
    labels = np.arange(count) // 6 % classes
    logits = noise(count, classes) + 2.0 * np.eye(classes)[labels]
    found = Evaluation([CrossEntropy()], Windows() if classes == 2 else None)
    batch = {"x": logits, "y": labels, "event": np.arange(count) // 6}
    found.add(batch, {"loss": 0.5}, logits)
    return found, labels, logits


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def size_of(path):
    """Width and height of a picture, out of its header."""
    content = path.read_bytes()
    assert content.startswith(PNG)
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def test_report_of_two_classes(tmp_path):
    evaluation, labels, logits = detector()
    document = write_report(tmp_path, evaluation, facts={"backend": "torch", "steps": 12})
    assert files(tmp_path) == [
        "confusion.png",
        "test_report.json",
        "test_report.txt",
        "thresholds.png",
    ]
    assert json.loads((tmp_path / "test_report.json").read_text()) == document
    predicted = logits.argmax(axis=1)
    table = [[int(((labels == r) & (predicted == c)).sum()) for c in range(2)] for r in range(2)]
    assert document["confusion"] == table
    assert document["classes"] == ["other", "seizure"]
    assert document["metrics"] == evaluation.result()
    half = document["thresholds"][4]
    assert (half["threshold"], half["tp"], half["fn"]) == (0.5, table[1][1], table[1][0])
    events = document["events"]
    assert (events["seizures"], events["others"]) == (5, 5)
    assert events["hours_of_others"] == pytest.approx(30 * 5 / 3600)
    assert [row["at_most"] for row in events["at_false_share"]] == [0.0, 0.01, 0.02, 0.05, 0.1]
    assert all(row["false_share"] <= row["at_most"] for row in events["at_false_share"])
    width, height = size_of(tmp_path / "thresholds.png")
    assert width > 2 * height


def test_the_text_says_the_same(tmp_path):
    evaluation, *_ = detector()
    document = write_report(tmp_path, evaluation, facts={"backend": "torch", "steps": 1200})
    text = (tmp_path / "test_report.txt").read_text()
    lines = [line.split() for line in text.splitlines()]
    assert text.startswith("Report on test data\n")
    assert ["steps", "1,200"] in lines
    assert ["accuracy", f"{document['metrics']['accuracy']:.4g}"] in lines
    assert ["seizure", *map(str, document["confusion"][1])] in lines
    assert "Events: 5 seizures, 5 others (0.04 h)" in text
    assert "None" not in text
    assert "nan" not in text


def test_report_of_many_classes(tmp_path):
    evaluation, labels, _ = detector(90, 5)
    document = write_report(tmp_path, evaluation, part="val")
    assert files(tmp_path) == ["val_confusion.png", "val_report.json", "val_report.txt"]
    assert np.sum(document["confusion"], axis=1).tolist() == np.bincount(labels).tolist()
    assert "thresholds" not in document
    assert "events" not in document


def test_report_of_values(tmp_path):
    evaluation = Evaluation([Mse()])
    target = noise(7, 1)
    evaluation.add({"x": target, "y": target}, {"loss": 0.25}, target + 0.5)
    document = write_report(tmp_path, evaluation)
    assert files(tmp_path) == ["test_report.json", "test_report.txt"]
    assert document["metrics"] == pytest.approx({"loss": 0.25, "mse": 0.25, "mae": 0.5})


def test_a_report_with_a_loss_that_is_no_number_is_still_json(tmp_path):
    evaluation, *_ = detector()
    batch = {"x": np.zeros((1, 2)), "y": np.array([1]), "event": np.array([3])}
    evaluation.add(batch, {"loss": np.nan}, np.full((1, 2), np.nan))
    write_report(tmp_path, evaluation)
    document = json.loads((tmp_path / "test_report.json").read_text(), parse_constant=pytest.fail)
    assert document["metrics"] == {"loss": None}


def run_lines(steps=300):
    """What a run logs: every tenth step, and an evaluation at each hundredth."""
    lines = []
    for step in range(1, steps + 1):
        if step % 10 == 0:
            values = {"loss": 3.0 / step, "rate": 1e-3, "gradient_norm": 1.0 + step % 7}
            lines.append({"kind": "step", "step": step, "epoch": 0, **values})
        if step % 100 == 0:
            values = {"train_loss": 4.0 / step, "val_loss": 5.0 / step, "val_auroc": None}
            lines.append({"kind": "evaluation", "step": step, "epoch": 0, **values})
    return lines


def test_curves_are_what_was_logged():
    curves = read_curves(run_lines())
    assert curves["val_loss"] == ([100.0, 200.0, 300.0], [0.05, 0.025, 5.0 / 300])
    assert len(curves["loss"][0]) == 30
    assert "val_auroc" not in curves
    assert "epoch" not in curves


def test_curves_are_drawn(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in run_lines())
    )
    path = draw_curves(tmp_path)
    assert files(tmp_path) == ["curves.png", "metrics.jsonl"]
    width, height = size_of(path)
    # Three panels beside each other: loss, rate, gradient norm.
    assert width > 3 * height
    before = path.read_bytes()
    (tmp_path / "metrics.jsonl").write_text("")
    assert draw_curves(tmp_path) is None
    assert path.read_bytes() == before
