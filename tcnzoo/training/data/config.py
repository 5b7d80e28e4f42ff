"""The kinds of data in the configuration of a training run, one class for each."""

from typing import Annotated, Literal

from pydantic import Field

from tcnzoo.specs.base import Positive
from tcnzoo.training.data.options import (
    Augmentation,
    DataConfig,
    GainConfig,
    NoiseConfig,
    Options,
    Part,
    PhaseConfig,
    SplitConfig,
    TransposeConfig,
)

__all__ = [
    "AddingData",
    "AnyData",
    "ArraysData",
    "Augmentation",
    "BoutsData",
    "CopyMemoryData",
    "DataConfig",
    "DataInParts",
    "EventsData",
    "GainConfig",
    "MatData",
    "NoiseConfig",
    "OsdData",
    "Part",
    "Paths",
    "PhaseConfig",
    "RecordingConfig",
    "SplitConfig",
    "TransposeConfig",
    "WindowsData",
]

Seconds = Annotated[float, Field(gt=0.0)]
Paths = str | tuple[str, ...]


class ArraysData(DataConfig):
    """Examples in arrays: x (examples, channels, time), y and more beside it.

    Attributes:
        path: a .npz or .safetensors file of named arrays, or a folder of .npy files.
        val: the same for validation, instead of a part of `path`.
        test: as `val`.
        x: name of the input.
        y: name of the target; integers are classes.
        group: name of an array (examples,) of names or numbers; taken where it is there.
        extra: names of further arrays that go into each batch, such as `mask` or `weight`, or
            `embedding0` and so on for a model that takes embeddings, and masks by their names.
        classes: how many there are; labels outside them are refused.
        split: of `path`, where val or test have no file.
    """

    kind: Literal["arrays"] = "arrays"
    path: str
    val: str | None = None
    test: str | None = None
    x: str = "x"
    y: str = "y"
    group: str = "group"
    extra: tuple[str, ...] = ()
    classes: Positive | None = None
    split: SplitConfig = SplitConfig()


class _AccelerometerData(DataConfig):
    """How accelerometer events become windows.

    Attributes:
        signal: `magnitude`, one channel, or `xyz`, three.
        scale: `g`; `mg`, as recorded; `zscore`, each window less its mean, over its deviation; or
            `centred`, each window less its mean, in g.
        window: seconds of signal that an example holds.
        sampling_rate: in Hz.
        label: `type` is the event's own; `seizure_times` calls those datapoints seizure that lie
            within the times noted in JSON.
        untimed: what `seizure_times` makes of a seizure without noted times, or with times that
            hold none of its datapoints: `refuse` it, `drop` the event, or label it `by_type`.
        other: what becomes of events that are neither seizure nor known not to be (type 2).
        group_by: what may lie in one part of a split only.
        split: into train, val and test.
    """

    signal: Literal["magnitude", "xyz"] = "magnitude"
    scale: Literal["g", "mg", "zscore", "centred"] = "g"
    window: Seconds = 30.0
    sampling_rate: Seconds = 25.0
    label: Literal["type", "seizure_times"] = "type"
    untimed: Literal["refuse", "drop", "by_type"] = "refuse"
    other: Literal["drop", "negative", "refuse"] = "drop"
    group_by: Literal["user", "event"] = "user"
    split: SplitConfig = SplitConfig()


class OsdData(_AccelerometerData):
    """Events of OpenSeizureDetector, from its CSV or from OSDB JSON.

    Attributes:
        path: one file or several, .csv, .json, or .jsonl or .ndjson with an event a line.
        val: the same for validation, instead of a part of `path`.
        test: as `val`.
    """

    kind: Literal["osd"] = "osd"
    path: Paths
    val: Paths | None = None
    test: Paths | None = None


class EventsData(_AccelerometerData):
    """Simulated accelerometer events, made in memory; see `tcnzoo simulate` for files of them.

    Attributes:
        users: each with habits of their own.
        events: of each user and activity.
        simulation_seed: the same one gives the same events.
    """

    kind: Literal["events"] = "events"
    users: Annotated[int, Field(ge=3)] = 12
    events: Positive = 4
    simulation_seed: Annotated[int, Field(ge=0)] = 0


class BoutsData(DataConfig):
    """Simulated bouts of lying, walking and trotting; see `tcnzoo.behaviour.simulate`.

    Attributes:
        recordings: each with offsets of its own.
        windows: of each recording, one after the other.
        window: steps of an example.
        noise: deviation of the noise of each value.
        simulation_seed: the same one gives the same recordings.
        split: by recording.
    """

    kind: Literal["bouts"] = "bouts"
    recordings: Annotated[int, Field(ge=3)] = 12
    windows: Positive = 20
    window: Positive = 100
    noise: Annotated[float, Field(ge=0.0)] = 0.15
    simulation_seed: Annotated[int, Field(ge=0)] = 0
    split: SplitConfig = SplitConfig()


class RecordingConfig(Options):
    """One recording and its labels.

    Attributes:
        x: .npy (channels, time), or .csv with a line a step.
        y: .npy (time,), the class of each step.
        group: whose it is; None for the name of the file `x`.
    """

    x: str
    y: str
    group: str | None = None


class WindowsData(DataConfig):
    """Windows of long recordings with a label for every step; files are mapped, not read.

    Attributes:
        recordings: the files.
        window: steps of an example.
        hop: steps between windows; None for `window`.
        label: `steps` keeps one label a step; `any` calls a window by the largest of its labels,
            `last` by that of its last step.
        scale: `zscore` takes each channel of each window to mean 0 and deviation 1.
        classes: how many there are; labels outside them are refused.
        split: by recording group.
    """

    kind: Literal["windows"] = "windows"
    recordings: Annotated[tuple[RecordingConfig, ...], Field(min_length=1)]
    window: Positive
    hop: Positive | None = None
    label: Literal["steps", "any", "last"] = "steps"
    scale: Literal["none", "zscore"] = "none"
    classes: Positive | None = None
    split: SplitConfig = SplitConfig()


class MatData(DataConfig):
    """Sequences of a MATLAB file, to be predicted one step ahead: JSB chorales as distributed.

    Attributes:
        path: of a .mat file, version 5.
        train: name of its cell array of (steps, channels) sequences.
        val: as `train`.
        test: as `train`.
        pad_to: sequences of a batch are made equally long, in multiples of this; `mask` is 0 there.
    """

    kind: Literal["mat"] = "mat"
    path: str
    train: str = "traindata"
    val: str = "validdata"
    test: str = "testdata"
    pad_to: Positive = 1


class _Generated(DataConfig):
    """Examples that a generator makes.

    Attributes:
        train: how many examples.
        val: as `train`.
        test: as `train`.
    """

    train: Positive
    val: Positive = 1000
    test: Positive = 1000


class AddingData(_Generated):
    """The adding problem: the sum of the two numbers of a sequence that are marked.

    Attributes:
        steps: of a sequence.
    """

    kind: Literal["adding"] = "adding"
    train: Positive = 50_000
    steps: Annotated[int, Field(ge=2)] = 200


class CopyMemoryData(_Generated):
    """Copy memory: symbols that are to be repeated after a long time.

    Attributes:
        steps: between the symbols and the order to repeat them.
        symbols: how many are to be kept.
    """

    kind: Literal["copy_memory"] = "copy_memory"
    train: Positive = 10_000
    steps: Positive = 500
    symbols: Positive = 10


# Data that come in train, val and test already, so that there is nothing to split.
DataInParts = MatData | AddingData | CopyMemoryData
AnyData = Annotated[
    ArraysData
    | OsdData
    | EventsData
    | BoutsData
    | WindowsData
    | MatData
    | AddingData
    | CopyMemoryData,
    Field(discriminator="kind"),
]
