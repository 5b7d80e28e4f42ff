"""The steps of the demo: all numbers are compared with the library that made the checkpoint."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Array
from tcnzoo.checkpoints.parity_report import ParityReport
from tcnzoo.demo import foreign
from tcnzoo.demo.figure import draw
from tcnzoo.demo.recording import RATE, generate, read
from tcnzoo.demo.relay import ragged, relay
from tcnzoo.formats.protocol import convert
from tcnzoo.models.backend import installed_backends
from tcnzoo.models.calls import load, predict
from tcnzoo.verification.parity import TOLERANCE, parity, relative_error

SEED = 0
# The state goes round all backends about this often.
ROUNDS = 3
# Each backend's own kind of file; numpy reads the neutral directory.
NATIVE = {"torch": "torch.pt", "mlx": "mlx.npz", "keras": "keras.weights.h5"}
# Samples of the noise on which layers are compared.
PROBE = 1024

Say = Callable[[str], None]


@dataclass(frozen=True)
class Check:
    """One backend against the library's own output; errors are relative to max(1, max|output|).

    Attributes:
        backend: its name, or `all in turn` for the stream that goes through all of them.
        offline_error: of the output for the whole recording; None for the stream through all.
        stream_error: of the output in ragged chunks.
    """

    backend: str
    offline_error: float | None
    stream_error: float

    @property
    def passed(self) -> bool:
        """Whether both are within tolerance."""
        return self.stream_error <= TOLERANCE and (self.offline_error or 0.0) <= TOLERANCE


@dataclass(frozen=True)
class DemoReport:
    """What the demo found and wrote.

    Attributes:
        library: name and version of the library whose checkpoint was converted.
        input_shape: (1, channels, time) of the recording.
        chunks: how many there were in each stream.
        changes: how often the streaming state moved to another backend.
        checks: one a backend, and the last for the stream that goes through all of them.
        layers: every backend against the float64 reference, layer by layer.
        files: what was written, by purpose.
    """

    library: str
    input_shape: tuple[int, ...]
    chunks: int
    changes: int
    checks: tuple[Check, ...]
    layers: ParityReport
    files: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether every check held."""
        return self.layers.passed and all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        checks = [{**asdict(check), "passed": check.passed} for check in self.checks]
        whole = {**asdict(self), "checks": checks, "layers": self.layers.to_dict()}
        return {**whole, "tolerance": TOLERANCE, "passed": self.passed}


def check_installed() -> None:
    """Raise InputError, with what to install, unless every package that the demo needs is there."""
    foreign.require("torch", "pytorch_tcn", "matplotlib")


def demo(
    directory: Path, source: Path | None = None, *, rate: float = RATE, say: Say = print
) -> DemoReport:
    """Train a small network with pytorch-tcn, and take it through every installed backend.

    Args:
        directory: where the checkpoints and the figure go; files of an earlier demo are replaced.
        source: a recording (channels, time), .npy or .csv; None to generate one.
        rate: of `source`, in Hz.
        say: called with a line before each step.
    Raises:
        InputError: a package that the demo needs is missing, or a recording that does not fit.
    """
    check_installed()
    recording = generate(SEED) if source is None else read(source, rate)
    directory.mkdir(parents=True, exist_ok=True)
    say("training a detector of 3 Hz spike-and-wave bursts with pytorch-tcn")
    lesson = generate(SEED + 1, recording.samples.shape[0], recording.rate)
    library = foreign.make(SEED, lesson)
    origin = directory / "pytorch_tcn.pt"
    library.save(origin)
    places = {name: _converted(origin, name, say) for name in installed_backends()}
    models = {name: load(folder, backend=name) for name, folder in places.items()}
    x = recording.scaled
    expected, cuts = library.output(x), ragged(x.shape[2], SEED)
    checks = [_check(name, model, x, expected, cuts, say) for name, model in models.items()]
    say(f"streaming through {', '.join(models)} in turn, with one state")
    relayed = relay(models, _turns(list(models), len(cuts) - 1), x, cuts)
    checks.append(Check("all in turn", None, relative_error(relayed.output, expected)))
    say("comparing layer by layer with the float64 reference")
    layers = parity(places["numpy"], None, list(models.values()), input_length=PROBE, layers=True)
    say("drawing")
    title = f"A checkpoint of pytorch-tcn {library.version} in {', '.join(models)}"
    figure = directory / "demo.png"
    draw(figure, title, recording, expected[0, 0], relayed, layers)
    return DemoReport(
        library=f"pytorch-tcn {library.version}",
        input_shape=x.shape,
        chunks=len(relayed.turns),
        changes=len(relayed.stays) - 1,
        checks=tuple(checks),
        layers=replace(layers, subject=origin.name),
        files={
            "origin": str(origin),
            **{k: str(v) for k, v in places.items()},
            "figure": str(figure),
        },
    )


def _turns(names: Sequence[str], chunks: int) -> list[str]:
    """Whose turn each chunk is: every backend a few chunks long, round and round."""
    stay = max(1, chunks // (ROUNDS * len(names)))
    return [names[index // stay % len(names)] for index in range(chunks)]


def _converted(origin: Path, name: str, say: Say) -> Path:
    """Convert the checkpoint to a backend's own file, and that to a directory to load."""
    say(f"converting it for {name}")
    target = origin.parent / name
    if name not in NATIVE:
        convert(origin, target, to_format="tcnzoo", hints=foreign.HINTS, overwrite=True)
        return target
    native = origin.parent / NATIVE[name]
    convert(origin, native, to_format=name, hints=foreign.HINTS, overwrite=True)
    convert(native, target, to_format="tcnzoo", overwrite=True)
    return target


def _check(name: str, model: Any, x: Array, expected: Array, cuts: Array, say: Say) -> Check:
    """Compare one backend, offline and streamed."""
    say(f"running {name}, offline and in {len(cuts) - 1} ragged chunks")
    offline = relative_error(predict(model, x), expected)
    stream = relay({name: model}, [name] * (len(cuts) - 1), x, cuts)
    return Check(name, offline, relative_error(stream.output, expected))
