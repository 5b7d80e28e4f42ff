"""The directory of a run, new or resumed, with its configuration and environment.

```
config.yaml                 as resolved
environment.json            of each session
metrics.jsonl, tensorboard/ as the run goes on
checkpoints/                last, best and step-00000000, see `checkpoints`
```
"""

import contextlib
import json
import platform
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tcnzoo.errors import InputError
from tcnzoo.files.atomic import exclusive, in_folder, refuse_existing, replacing_in
from tcnzoo.models.backend import get_backend
from tcnzoo.training.checkpoints import Checkpoints
from tcnzoo.training.config import CONFIG, TrainConfig
from tcnzoo.training.logs import METRICS, read_lines
from tcnzoo.version import __version__

ENVIRONMENT = "environment.json"
# What may change without a warning when a run is resumed.
FREE = (
    *("backend", "device", "output", "loggers"),
    *("training.epochs", "training.steps", "training.strategy"),
)
FREE_BELOW = ("training.checkpoint.",)
MOST = 8


class RunDirectory:
    """One run's directory."""

    def __init__(self, config: TrainConfig) -> None:
        """Write nothing yet."""
        self.folder = Path(config.output)
        self.checkpoints = Checkpoints(self.folder / "checkpoints", config.training.checkpoint.keep)

    def check_new(self) -> None:
        """Raise InputError if the directory exists already."""
        try:
            refuse_existing(self.folder)
        except InputError:
            raise InputError(
                f"{str(self.folder)!r} exists already; go on with resume, or choose another output"
            ) from None

    def check_same(self, config: TrainConfig) -> None:
        """Compare a configuration with the one that the run was started with.

        Differences other than the length of the run and its device are warnings.

        Raises:
            InputError: another model; the sentence says where they differ.
        """
        path = self.folder / CONFIG
        if not path.is_file():
            return
        before = yaml.safe_load(path.read_text("utf-8"))
        changes = list(differences(before, config.model_dump(mode="json")))
        models = [text for name, text in changes if name.partition(".")[0] == "model"]
        if models:
            raise InputError(
                f"{str(self.folder)!r} trains another model, so it cannot be resumed: "
                f"{_listed(models)}"
            )
        others = [text for name, text in changes if not _is_free(name)]
        if others:
            warnings.warn(
                f"the run goes on with another configuration: {_listed(others)}", stacklevel=3
            )

    @contextlib.contextmanager
    def claimed(self, checkpoint: Path | None) -> Iterator[None]:
        """Keep other processes from training in the directory while the block runs.

        Args:
            checkpoint: from which this process continues, or None.
        Raises:
            InputError: another process trains there, or did so after `checkpoint` was looked up.
        """
        with in_folder(self.folder), exclusive(self.folder, "is being trained"):
            if self.checkpoints.newest() != checkpoint:
                raise InputError(
                    f"another process has trained in {str(self.folder)!r} meanwhile; go on with "
                    "resume, or choose another output"
                )
            self.checkpoints.take_up(checkpoint)
            yield

    def check_traces(self) -> None:
        """Check the rest of a directory that has no checkpoint to resume from.

        Steps without a checkpoint are lost, with a warning.

        Raises:
            InputError: remains of checkpoints.
        """
        if not self.checkpoints.is_empty():
            raise InputError(
                f"{str(self.checkpoints.folder)!r} holds remains of checkpoints, but none that the "
                "run could go on from; move them away to begin again, or choose another output"
            )
        if self.is_begun():
            steps = max((line["step"] for line in read_lines(self.folder / METRICS)), default=0)
            warnings.warn(
                f"{str(self.folder)!r} holds a run that was cut short before its first checkpoint, "
                f"after {steps} steps that were noted; it begins again at step 0",
                stacklevel=4,
            )

    def is_begun(self) -> bool:
        """Whether its configuration is there."""
        return (self.folder / CONFIG).is_file()

    def begin(self, config: TrainConfig, facts: Mapping[str, Any]) -> None:
        """Write the configuration, and add a session to the environment."""
        with replacing_in(self.folder) as files:
            path = self.folder / ENVIRONMENT
            sessions = json.loads(path.read_text("utf-8")) if path.is_file() else []
            sessions.append({**environment(config.backend), **facts})
            text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
            (files / CONFIG).write_text(text, encoding="utf-8")
            text = json.dumps(sessions, indent=2) + "\n"
            (files / ENVIRONMENT).write_text(text, encoding="utf-8")


def environment(backend: str) -> dict[str, Any]:
    """Versions, devices and command of a session."""
    info = get_backend(backend).info()
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "tcnzoo": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "backend": backend,
        "versions": dict(info.versions),
        "devices": list(info.devices),
        "command": sys.argv,
    }


def differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted path, `path: before -> after`) wherever two documents differ."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            inner = f"{path}.{name}" if path else str(name)
            yield from differences(before.get(name), after.get(name), inner)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (first, other) in enumerate(zip(before, after, strict=True)):
            yield from differences(first, other, f"{path}.{index}")
    elif before != after:
        yield path, f"{path}: {json.dumps(before)} -> {json.dumps(after)}"


def _is_free(name: str) -> bool:
    """Whether a run may be resumed with another value of a field."""
    return name in FREE or name.startswith(FREE_BELOW)


def _listed(texts: list[str]) -> str:
    """The first of some differences, and how many more there are."""
    more = f" and {len(texts) - MOST} more" if len(texts) > MOST else ""
    return "; ".join(texts[:MOST]) + more
