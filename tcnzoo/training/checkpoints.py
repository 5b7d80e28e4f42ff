"""Checkpoints of a run: directories that are there whole or not at all, and links to the best.

Each is in hub layout (config.json, model.safetensors, README.md), with the optimiser's moments in
training.safetensors and the place in the run in progress.json.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tcnzoo.arrays import Array
from tcnzoo.checkpoint import read_checkpoint, write_checkpoint
from tcnzoo.errors import InputError
from tcnzoo.files import flush_directory, replacing
from tcnzoo.params import Weights
from tcnzoo.safetensors_files import read_safetensors, write_safetensors
from tcnzoo.specs import Spec
from tcnzoo.training.progress import Progress, read_progress

STATE = "training.safetensors"
PROGRESS = "progress.json"
LAST, BEST = "last", "best"
_WRITING = ".writing-"
_STEP = "step-"


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
        """Write a checkpoint, point `last` (and `best`) at it, and drop what nothing points at.

        A crash at any moment leaves the one before whole, or this one.

        Returns:
            its directory.
        Raises:
            OSError: no room; nothing of it is left, and the links are as they were.
        """
        target = self.folder / f"{_STEP}{progress.step:08d}"
        with self._new(target) as fresh:
            write_checkpoint(fresh, spec, weights)
            write_safetensors(fresh / STATE, dict(state), {"format": "pt"})
            with replacing(fresh / PROGRESS) as temporary:
                temporary.write_text(progress.model_dump_json(indent=2) + "\n", encoding="utf-8")
        # `last` comes last: whoever goes on from an older one comes by this step again.
        for name, wanted in ((BEST, best), (LAST, True)):
            if wanted and name in self.keep:
                self._link(name, target)
        self.tidy()
        return target

    @contextlib.contextmanager
    def _new(self, target: Path) -> Iterator[Path]:
        """A directory that takes its name, and the place of one before, at the end of the block."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_WRITING, dir=self.folder) as outer:
            # Of the same name, which the model card in it says.
            fresh = Path(outer) / target.name
            fresh.mkdir()
            yield fresh
            flush_directory(fresh)
            if target.exists():
                target.rename(Path(outer) / "before")
            fresh.rename(target)
        flush_directory(self.folder)

    def _link(self, name: str, target: Path) -> None:
        """Point a link at a checkpoint, in one go."""
        with tempfile.TemporaryDirectory(prefix=_WRITING, dir=self.folder) as outer:
            link = Path(outer) / name
            link.symlink_to(target.name, target_is_directory=True)
            link.replace(self.folder / name)
        flush_directory(self.folder)

    def load(self, name: str = LAST) -> tuple[Spec, Weights, Weights, Progress]:
        """Read a checkpoint.

        Returns:
            (spec, weights, optimiser state, progress).
        Raises:
            InputError: there is none of that name.
            WeightError: a broken file.
        """
        source = self.folder / name
        if not source.is_dir():
            raise InputError(f"no checkpoint {name!r} in {str(self.folder)!r}")
        spec, weights = read_checkpoint(source)
        state, _ = read_safetensors(source / STATE)
        path = source / PROGRESS
        if not path.is_file():
            raise InputError(f"{str(source)!r} holds a model, but no progress of a run")
        text = path.read_text("utf-8", errors="replace")
        return spec, weights, state, read_progress(text, repr(str(path)))

    def has(self, name: str) -> bool:
        """Whether there is a checkpoint of that name."""
        return (self.folder / name).is_dir()

    def tidy(self, upto: int | None = None) -> None:
        """Remove what is half written and what nothing points at.

        Args:
            upto: remove checkpoints of later steps too, which a crash has left without a link.
        """
        linked = {os.path.realpath(self.folder / name) for name in (LAST, BEST) if self.has(name)}
        for path in sorted(self.folder.glob(f"{_WRITING}*")):
            shutil.rmtree(path)
        for path in sorted(self.folder.glob(f"{_STEP}*")):
            later = upto is not None and int(path.name.removeprefix(_STEP)) > upto
            if os.path.realpath(path) not in linked and (later or "every" not in self.keep):
                shutil.rmtree(path)
