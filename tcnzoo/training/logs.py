"""Logs of a run: lines of JSON, and events for TensorBoard."""

import json
import math
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tcnzoo.files.atomic import replacing
from tcnzoo.training.needs import needed

METRICS = "metrics.jsonl"
Values = Mapping[str, float | None]


class Log(Protocol):
    """A destination for the numbers of a run."""

    def write(self, kind: str, step: int, epoch: int, values: Values) -> None:
        """Write the numbers of a step.

        Args:
            kind: `step` of training, or `evaluation`.
            step: optimiser steps taken.
            epoch: completed epochs, which is the number of the current one.
            values: by name.
        """

    def close(self) -> None:
        """Write what is buffered, and close."""


class JsonLines:
    """`metrics.jsonl`: one object a line, flushed at once; a value that is no number is null."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        """Open the file after the lines up to a step; lines of later steps are removed."""
        self.path = folder / METRICS
        kept = [line for line in read_lines(self.path) if line["step"] <= step]
        with replacing(self.path) as temporary:
            temporary.write_text("".join(map(_line, kept)), encoding="utf-8")
        self.file = self.path.open("a", encoding="utf-8")

    def write(self, kind: str, step: int, epoch: int, values: Values) -> None:
        """Append a line."""
        self.file.write(_line({"kind": kind, "step": step, "epoch": epoch, **values}))
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`, without a last line that a crash has cut."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text("utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            break
        if not isinstance(line, dict) or not isinstance(line.get("step"), int):
            break
        lines.append(line)
    return lines


def _line(values: Mapping[str, Any]) -> str:
    """One line; JSON has neither NaN nor infinity."""
    plain = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
    return json.dumps(plain, allow_nan=False) + "\n"


class TensorBoard:
    """Events in `tensorboard/`; what an earlier session wrote of later steps is marked as void."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        """Open a new file of events.

        Raises:
            BackendMissing: tensorboard is not installed.
        """
        # Without its own event writer, which would import TensorFlow.
        self.events = needed("tensorboard.compat.proto.event_pb2", "the logger 'tensorboard'")
        records = needed("tensorboard.summary.writer.record_writer", "the logger 'tensorboard'")
        self.summaries = needed("tensorboard.compat.proto.summary_pb2", "the logger 'tensorboard'")
        directory = folder / "tensorboard"
        directory.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self.file = (directory / name).open("wb")
        self.records = records.RecordWriter(self.file)
        self._add(file_version="brain.Event:2")
        if step:
            start = self.events.SessionLog(status=self.events.SessionLog.START)
            self._add(step=step + 1, session_log=start)

    def write(self, kind: str, step: int, epoch: int, values: Values) -> None:
        """Add scalars, those of steps under `train/`."""
        prefix = "train/" if kind == "step" else ""
        scalars = [
            self.summaries.Summary.Value(tag=prefix + name, simple_value=value)
            for name, value in values.items()
            if value is not None
        ]
        self._add(step=step, summary=self.summaries.Summary(value=scalars))

    def _add(self, **fields: Any) -> None:
        """Append an event."""
        event = self.events.Event(wall_time=time.time(), **fields)
        self.records.write(event.SerializeToString())
        self.records.flush()

    def close(self) -> None:
        """Close the file."""
        self.records.close()


LOGS: dict[str, Callable[[Path, int], Log]] = {"jsonl": JsonLines, "tensorboard": TensorBoard}


def open_logs(names: Sequence[str], folder: Path, step: int) -> list[Log]:
    """The logs of those names, and `jsonl`, which everything is drawn from, in any case."""
    return [LOGS[name](folder, step) for name in dict.fromkeys(("jsonl", *names))]
