"""What is known of the engines of one model on this machine; nothing is measured here."""

from collections import Counter
from collections.abc import Iterable

from tcnzoo import engines
from tcnzoo.engines import Choice
from tcnzoo.specs import Spec
from tcnzoo.specs.analysis import stream_name


def known_engines(spec: Spec) -> list[Choice]:
    """The choices that were measured for the parts and the streams of a model."""
    starts = shapes_of(spec)
    return [choice for choice in engines.known() if choice.shape.startswith(starts)]


def shapes_of(spec: Spec) -> tuple[str, ...]:
    """How the shapes of a model begin in the table of engines, as the backends write them."""
    parts = {part.engine_shape for _, part in spec.walk()} - {None}
    return (f"{stream_name(spec)},", *sorted(f"{shape}," for shape in parts))


def engines_text(choices: Iterable[Choice]) -> str:
    """The engines of some choices by operation, such as `conv1d forward: toom-cook 5, plain 2`."""
    counts: dict[str, Counter[str]] = {}
    for choice in choices:
        operation = choice.operation.rpartition("; ")[2]
        counts.setdefault(operation, Counter())[choice.engine] += 1
    return "; ".join(
        f"{operation}: {', '.join(f'{name} {times}' for name, times in names.most_common())}"
        for operation, names in sorted(counts.items())
    )
