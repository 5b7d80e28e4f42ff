"""Checkpoints of a run: complete directories, and links to the last and the best.

Each is in hub layout (config.json, model.safetensors, README.md), with the optimiser's moments in
training.safetensors and the progress of the run in progress.json.
"""

import itertools
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from tcnzoo.arrays import Array, Weights
from tcnzoo.checkpoints.card import CARD, card_text
from tcnzoo.checkpoints.directory import LARGEST_SHARD, put_checkpoint, read_checkpoint
from tcnzoo.errors import InputError
from tcnzoo.files.atomic import flush_directory, replacing, settle_committed
from tcnzoo.files.safetensors import put_safetensors, read_safetensors
from tcnzoo.files.shards import size_in_bytes
from tcnzoo.files.stages import settle, staged
from tcnzoo.specs import Spec
from tcnzoo.specs.params import check_weights
from tcnzoo.training.progress import Progress, read_progress

STATE = "training.safetensors"
PROGRESS = "progress.json"
LAST, BEST = "last", "best"
# A step that is saved again, when an ended run is prolonged, gets a directory beside the first.
_STEP = re.compile(r"step-(?P<step>\d+)(?:-\d+)?")
# Where earlier versions wrote a checkpoint, and what was there before it.
_WRITING, _BEFORE = ".writing-*", "before"


class Checkpoints:
    """The checkpoints in one folder."""

    def __init__(self, folder: Path, keep: tuple[str, ...] = (BEST, LAST)) -> None:
        """Name the folder, and what stays in it: `best`, `last`, and every one with `every`."""
        self.folder, self.keep = folder, keep

    def save(
        self,
        spec: Spec,
        weights: Mapping[str, Array],
        state: Mapping[str, Array],
        progress: Progress,
        best: bool,
    ) -> Path:
        """Write a checkpoint, point `last` (and `best`) at it, and remove those without a link.

        A crash at any moment leaves `last` pointing at the checkpoint before, or at this one.

        Returns:
            its directory.
        Raises:
            OSError: no room; nothing of it is left, and the links are as they were.
        """
        target = self._free(progress.step)
        check_weights(spec.params(), weights)
        with replacing(target) as fresh:
            fresh.mkdir()
            card = card_text(fresh / CARD, spec)
            put_checkpoint(fresh, fresh, spec, weights, card, size_in_bytes(LARGEST_SHARD))
            put_safetensors(fresh / STATE, dict(state), {"format": "pt"})
            text = progress.model_dump_json(indent=2) + "\n"
            (fresh / PROGRESS).write_text(text, encoding="utf-8")
        # `last` comes last: a run that resumes from an older one takes this step again.
        for name, wanted in ((BEST, best), (LAST, True)):
            if wanted and name in self.keep:
                self._link(name, target)
        self.tidy()
        return target

    def _free(self, step: int) -> Path:
        """A name for a checkpoint of a step, which no directory has."""
        plain = self.folder / f"step-{step:08d}"
        again = (plain.with_name(f"{plain.name}-{number}") for number in itertools.count(2))
        return next(path for path in itertools.chain((plain,), again) if not path.exists())

    def _link(self, name: str, target: Path) -> None:
        """Point a link at a checkpoint, in one renaming."""
        with staged(self.folder) as stage:
            link = stage.files / name
            link.symlink_to(target.name, target_is_directory=True)
            link.replace(self.folder / name)
        flush_directory(self.folder)

    def load(self, name: str | Path = LAST) -> tuple[Spec, Weights, Weights, Progress]:
        """Read a checkpoint, by the name of a link or its directory.

        Returns:
            (spec, weights, optimiser state, progress).
        Raises:
            InputError: no checkpoint of that name.
            WeightError: a broken file.
        """
        source = self.folder / name
        if not source.is_dir():
            raise InputError(f"no checkpoint {str(name)!r} in {str(self.folder)!r}")
        spec, weights = read_checkpoint(source)
        state, _ = read_safetensors(source / STATE)
        if not (source / PROGRESS).is_file():
            raise InputError(f"{str(source)!r} holds a model, but no progress of a run")
        return spec, weights, state, _progress(source)

    def has(self, name: str) -> bool:
        """Whether there is a checkpoint of that name."""
        return (self.folder / name).is_dir()

    def newest(self) -> Path | None:
        """The checkpoint to resume from: `last`, or without it the latest.

        Raises:
            WeightError: the progress in one is damaged.
        """
        if self.has(LAST):
            return Path(os.path.realpath(self.folder / LAST))
        settle_committed(self.folder)
        candidates = [*self._steps(), *self.folder.glob(f"{_WRITING}/{_BEFORE}")]
        whole = [path for path in candidates if (path / PROGRESS).is_file()]
        return max(whole, key=_age, default=None)

    def take_up(self, checkpoint: Path | None) -> None:
        """Point `last` at the checkpoint to resume from, and remove the remains of others.

        Args:
            checkpoint: of `newest`; None for a run that begins.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        settle(self.folder)
        if checkpoint is not None and not self.has(LAST):
            target = checkpoint
            if checkpoint.name == _BEFORE:
                target = self._free(_progress(checkpoint).step)
                checkpoint.replace(target)
            self._link(LAST, target)
        for path in sorted(self.folder.glob(_WRITING)):
            shutil.rmtree(path)
        self.tidy(upto=0 if checkpoint is None else _progress(self.folder / LAST).step)

    def is_empty(self) -> bool:
        """Whether the folder has no checkpoint and no remains of one."""
        return not self.folder.is_dir() or not any(
            not path.name.startswith(".tcnzoo") for path in self.folder.iterdir()
        )

    def tidy(self, upto: int | None = None) -> None:
        """Remove checkpoints without a link.

        Args:
            upto: remove checkpoints of later steps too, which a crash has left without a link.
        """
        linked = {os.path.realpath(self.folder / name) for name in (LAST, BEST) if self.has(name)}
        again = {_step(Path(link)) for link in linked}
        for path in self._steps():
            later = upto is not None and _step(path) > upto
            replaced = later or _step(path) in again or "every" not in self.keep
            if os.path.realpath(path) not in linked and replaced:
                shutil.rmtree(path)

    def _steps(self) -> list[Path]:
        """Directories of checkpoints."""
        return [path for path in sorted(self.folder.glob("step-*")) if _STEP.fullmatch(path.name)]


def _step(path: Path) -> int:
    """The step in the name of a checkpoint's directory."""
    match = _STEP.fullmatch(path.name)
    return int(match["step"]) if match else 0


def _progress(source: Path) -> Progress:
    """The progress of a run in a checkpoint."""
    path = source / PROGRESS
    return read_progress(path.read_text("utf-8", errors="replace"), repr(str(path)))


def _age(source: Path) -> tuple[int, int]:
    """Sort key of checkpoints, from the first to the latest."""
    return _progress(source).step, (source / PROGRESS).stat().st_mtime_ns
