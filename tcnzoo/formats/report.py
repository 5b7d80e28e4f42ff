"""What converting a checkpoint gives: what was read, what was asked, and reports of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tcnzoo.errors import InputError
from tcnzoo.files.lazy import Tensors
from tcnzoo.specs import Spec


@dataclass(frozen=True)
class Converted:
    """What a format reads from a file.

    Attributes:
        spec: of the model.
        weights: neutral names and layout, every row of the spec's table; lazy or not.
        used: source tensor -> the neutral tensor that it became.
        dropped: source tensor -> why it was left out.
        assumed: fields of the spec, and options of the source library that change outputs, that
            neither the file nor a hint says -> the value taken.
    """

    spec: Spec
    weights: Tensors
    used: Mapping[str, str]
    dropped: Mapping[str, str] = field(default_factory=dict)
    assumed: Mapping[str, Any] = field(default_factory=dict)


class Undetermined(InputError):  # noqa: N818 - a question to the caller rather than a fault
    """A file that does not say all there is to know of its model; the sentence names the hints.

    Attributes:
        known: fields of the spec that the file does say.
        used: source tensor -> neutral tensor, as far as that is known.
    """

    def __init__(
        self,
        sentence: str,
        known: Mapping[str, Any] | None = None,
        used: Mapping[str, str] | None = None,
    ) -> None:
        """Keep what is known beside the sentence."""
        super().__init__(sentence)
        self.known = dict(known or {})
        self.used = dict(used or {})


@dataclass(frozen=True)
class ConversionReport:
    """What `convert` did.

    Attributes:
        source, destination: paths.
        from_format, to_format: names of the formats.
        assumed: as in Converted; what to check first.
        spec: of the model.
        tensors: how many were written.
        used, dropped: as in Converted.
        left_out: neutral tensor -> why the destination does not hold it.
    """

    source: str
    destination: str
    from_format: str
    to_format: str
    assumed: Mapping[str, Any]
    spec: Spec
    tensors: int
    used: Mapping[str, str]
    dropped: Mapping[str, str]
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class TensorRow:
    """One tensor of a file.

    Attributes:
        name, shape, dtype: as in the file.
        used_as: the neutral tensor that it becomes, or None.
        role: what that is: `weight`, `bias`, `scale` or `statistic`.
        dropped: why it is left out, or None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    used_as: str | None = None
    role: str | None = None
    dropped: str | None = None


@dataclass(frozen=True)
class Inspection:
    """What a file is.

    Attributes:
        path: of the file.
        format: name of its format.
        assumed: as in Converted.
        missing: which hints are needed, in one sentence, where `spec` is None.
        spec: of the model, or None where the file and the hints do not determine it.
        known: fields that the file does say where `spec` is None.
        tensors: one row each.
    """

    path: str
    format: str
    assumed: Mapping[str, Any]
    missing: str | None
    spec: Spec | None
    known: Mapping[str, Any]
    tensors: tuple[TensorRow, ...]
