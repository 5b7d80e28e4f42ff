"""What a comparison of backends found, as data: returned by `parity`, shown in model cards."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class ParityRow:
    """How one backend compares with the reference; errors are relative to max(1, max|reference|).

    Attributes:
        trainable, buffers: values that the native module holds.
        output_error: of the offline output.
        stream_error: of the output streamed in ragged chunks; None where the model cannot stream.
        gradient_error: worst over all parameters and the input; None where not asked for.
        passed: every error is within tolerance and the counts are those of the spec.
    """

    backend: str
    trainable: int
    buffers: int
    output_error: float
    stream_error: float | None
    gradient_error: float | None
    passed: bool


@dataclass(frozen=True)
class LayerRow:
    """Relative error after one layer, by backend."""

    path: str
    errors: dict[str, float]


@dataclass(frozen=True)
class ParityReport:
    """What `parity` found; `passed` is the verdict."""

    subject: str
    input_shape: tuple[int, ...]
    tolerance: float
    rows: tuple[ParityRow, ...]
    layers: tuple[LayerRow, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether every backend agrees with the reference."""
        return all(row.passed for row in self.rows)

    @property
    def first_divergence(self) -> dict[str, str]:
        """For each backend that diverges, the first layer whose error is beyond tolerance."""
        first: dict[str, str] = {}
        for layer in self.layers:
            for backend, error in layer.errors.items():
                if not error <= self.tolerance:
                    first.setdefault(backend, layer.path)
        return first

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return {**asdict(self), "passed": self.passed, "first_divergence": self.first_divergence}
