"""What an exporter is asked for and answers, and how exporters are found."""

import functools
import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal, Protocol, cast

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import BackendMissing, InputError, suggestion
from tcnzoo.models.outputs import Output
from tcnzoo.specs import Spec

GROUP = "tcnzoo.exports"

# So that an uninstalled checkout works; entry points may add to it.
BUILT_IN = {
    name: f"tcnzoo.exporters.{name}"
    for name in ("onnx", "litert", "coreml", "executorch", "aotinductor", "c")
}
ALIASES = {"tflite": "litert"}

# Modules with a function `check(path)`, that tell whether a compiler takes an exported file.
CHECKS = {"hailo": "tcnzoo.exporters.hailo"}

Precision = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class ExportOptions:
    """What an exporter is asked for; `export` settles every field.

    Attributes:
        channels: of the input.
        input_length: time steps of a signal; None for a model that is fed vectors.
        batch_size: signals of one call.
        dynamic: leave the batch and time axes open; else `shape` is the only one.
        streaming: write one step of a stream, with the state as inputs and outputs.
        rank: 4 for signals that are (batch, channels, 1, time) in the file.
        precision: of the written weights.
        representative: (signals, channels[, time]), float32, to choose the ranges of int8 by.
        seed: of whatever is random.
        devices: of the input, for a model of signals (batch, channels, devices, time).
    """

    channels: int
    input_length: int | None
    batch_size: int = 1
    dynamic: bool = True
    streaming: bool = False
    rank: Literal[3, 4] = 3
    precision: Precision = "float32"
    representative: Array | None = field(default=None, compare=False)
    seed: int = 0
    devices: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the neutral input: (batch, channels[, devices], time), or (batch, channels)."""
        devices = () if self.devices is None else (self.devices,)
        steps = () if self.input_length is None else (*devices, self.input_length)
        return self.batch_size, self.channels, *steps


class Exporter(Protocol):
    """The functions of an exporter module. Arrays are neutral: (batch, channels, time), numpy.

    Attributes:
        NAME: as in `to`.
        DESCRIPTION: one line.
        SUFFIX: ending of the file's (or directory's) name, such as `.onnx`.
        PRECISIONS: those that it writes.
        NEEDS: module that must be installed -> what pip installs for it, such as
            `{"onnx": "tcnzoo[onnx]"}`.

    A module may also have:
        DYNAMIC: whether it can leave axes open (default False).
        STREAMING: whether it writes streaming steps (default False).
        ALWAYS_STREAMING: whether it writes nothing else (default False).
        BESIDE: ending of a second file, which is written beside the first (default None).
        RANGES: whether int8 needs ranges, from representative signals (default True).
        RANKS: ranks that it writes (default (3,)).
        can_run() -> str | None: why files cannot be run on this machine.
    """

    NAME: str
    DESCRIPTION: str
    SUFFIX: str
    PRECISIONS: tuple[str, ...]
    NEEDS: Mapping[str, str]

    def export(
        self, spec: Spec, weights: Weights, path: Path, options: ExportOptions
    ) -> tuple[str, ...]:
        """Write a model to `path`, one file or directory, and return notes, one sentence each.

        The weights are float32. Nothing is at the path yet, and it is renamed once the file has
        been run, so it may be written to directly. What cannot be written raises SpecError or
        InputError.
        """

    def run(
        self, path: Path, x: Array, options: ExportOptions, embeddings: Sequence[Array] = ()
    ) -> Output:
        """Run a written file in its runtime, a stream in ragged chunks; float32 in, neutral out.

        `embeddings` are passed only for models that take some.
        """

    def command(self, path: Path, options: ExportOptions) -> str:
        """Shell command with which a user runs the file, on an `x.npy` that holds the input."""


@dataclass(frozen=True)
class Violation:
    """Something in a file that a compiler does not take.

    Attributes:
        node: name of the node, or of the input.
        operator: its type; `input` for an input.
        advice: what is the matter and what to do, one sentence.
    """

    node: str
    operator: str
    advice: str


class Check(Protocol):
    """The function of a check module."""

    def check(self, path: Path) -> tuple[Violation, ...]:
        """List what the compiler does not take; none where all is well."""


def get_check(name: str) -> Check:
    """Import a check by name.

    Raises:
        InputError: an unknown name.
    """
    if name not in CHECKS:
        raise InputError(f"unknown check {name!r}{suggestion(name, CHECKS)}")
    return cast(Check, importlib.import_module(CHECKS[name]))


@functools.cache
def exporter_modules() -> dict[str, str]:
    """Module of each known exporter: built-in ones united with those of installed packages."""
    installed = {point.name: point.value for point in entry_points(group=GROUP)}
    return {**BUILT_IN, **installed, **BUILT_IN}  # in the built-in order, and the built-in ones win


def get_exporter(name: str) -> Exporter:
    """Import an exporter by name.

    Raises:
        InputError: nobody provides it; the nearest name is suggested.
    """
    lowered = str(name).lower()
    resolved, known = ALIASES.get(lowered, lowered), exporter_modules()
    if resolved not in known:
        raise InputError(f"unknown export {name!r}{suggestion(lowered, known)}")
    return cast(Exporter, importlib.import_module(known[resolved]))


def exporter_for(path: Path) -> Exporter:
    """Choose the exporter by the ending of a file name.

    Raises:
        InputError: an ending that none of them writes.
    """
    endings = []
    for exporter in map(get_exporter, exporter_modules()):
        if path.name.lower().endswith(exporter.SUFFIX):
            return exporter
        endings.append(f"{exporter.SUFFIX} ({exporter.NAME})")
    raise InputError(f"an export ends in one of {', '.join(endings)}, but got {str(path)!r}")


def check_installed(exporter: Exporter) -> None:
    """Raise BackendMissing unless the packages of an exporter can be found."""
    for module, words in exporter.NEEDS.items():
        if importlib.util.find_spec(module) is None:
            raise BackendMissing(
                f"export to {exporter.NAME!r} needs {module}, which is not installed; "
                f"run: pip install {words!r}"
            )


def check_options(exporter: Exporter, options: ExportOptions) -> None:
    """Raise InputError for an option that the exporter does not have."""
    name = exporter.NAME
    if options.precision not in exporter.PRECISIONS:
        raise InputError(
            f"export to {name!r} writes {', '.join(exporter.PRECISIONS)}, "
            f"but not {options.precision!r}"
        )
    ranks = getattr(exporter, "RANKS", (3,))
    if options.rank not in ranks:
        raise InputError(f"export to {name!r} has no rank {options.rank}; leave it out")
    if options.streaming and not getattr(exporter, "STREAMING", False):
        raise InputError(f"export to {name!r} writes no streaming graph; onnx does")
    if getattr(exporter, "ALWAYS_STREAMING", False) and options.input_length is None:
        raise InputError(
            f"export to {name!r} writes one step of a stream of signals, but the model shall take "
            "vectors, which are no stream"
        )
    ranges = getattr(exporter, "RANGES", True)
    if options.precision == "int8" and ranges and options.representative is None:
        raise InputError("int8 needs signals to choose its ranges by: give representative data")
