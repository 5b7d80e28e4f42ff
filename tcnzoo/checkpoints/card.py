"""Model cards: the README.md of a checkpoint directory, of which only one section is ours.

The front matter is what Hugging Face's hub reads.
Source: https://huggingface.co/docs/hub/model-cards.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tcnzoo.checkpoints.parity_report import ParityReport
from tcnzoo.errors import InputError
from tcnzoo.specs import Spec
from tcnzoo.specs.analysis import Description, describe

CARD = "README.md"
_SECTION = re.compile(
    r"<!-- tcnzoo:begin (?P<sum>\w+)[^\n]*-->\n(?P<body>.*?)<!-- tcnzoo:end -->", re.DOTALL
)
_FRONT = re.compile(r"---[ \t]*\n(?P<lines>.*?)^---[ \t]*$\n?", re.DOTALL | re.MULTILINE)
_LICENCE = re.compile(r"^license:[ \t]*(?P<value>.*?)[ \t]*$", re.MULTILINE)

_FRONT_MATTER = """\
---
library_name: tcnzoo
tags:
- tcnzoo
- time-series
---

# {title}

"""
_USE = """\
```python
import tcnzoo

model = tcnzoo.load("{folder}", backend="torch")  # or mlx, keras, numpy
y = tcnzoo.predict(model, x)  # x: (batch, {axes}, time)
```

From a repository of the hub, in torch:
`tcnzoo.backends.torch.Block.from_pretrained("user/{folder}")`.
"""
_NO_PARITY = """\
Not in this card. `tcnzoo parity FOLDER` compares all installed backends on these weights, and
`tcnzoo.save(model, FOLDER, overwrite=True, parity=tcnzoo.parity(FOLDER))` puts the table here.
"""


def card_text(
    path: Path, spec: Spec, licence: str | None = None, parity: ParityReport | None = None
) -> str | None:
    """Text of a model card, with what others have written in it.

    Args:
        path: of the card. One without our section is somebody else's; one whose section was edited
            by hand is left alone, with a warning.
        spec: of the model.
        licence: an identifier such as `apache-2.0`; None for what the card says already.
        parity: a report to be shown.
    Returns:
        None where the card that is there stays as it is.
    Raises:
        InputError: a licence that is no line of text.
    """
    if licence is not None and not (licence.strip() and licence.isprintable()):
        raise InputError(f"a licence is a name such as 'apache-2.0', but got {licence!r}")
    old = _old_text(path)
    if old is None:
        return None
    own_section = _SECTION.search(old)
    if old and own_section is None:
        return None
    if own_section is not None and _digest(own_section["body"]) != own_section["sum"]:
        warnings.warn(
            f"{str(path)!r} was edited within the section that tcnzoo writes, so it is left as it "
            "is; write above or below the section, or remove its marks",
            stacklevel=4,
        )
        return None
    kept = old or _FRONT_MATTER.format(title=f"Temporal model ({spec.kind})") + "{section}\n"
    kept = kept if licence is None else _with_licence(kept, licence)
    section = _marked(_body(path, spec, licence or _licence_in(kept), parity))
    return _SECTION.sub(lambda _: section, kept) if old else kept.replace("{section}", section)


def _old_text(path: Path) -> str | None:
    """The card that is there, nothing where there is none, None for what is no text."""
    if not path.exists():
        return ""
    try:
        return path.read_text("utf-8")
    except (UnicodeDecodeError, IsADirectoryError):
        return None


def _marked(body: str) -> str:
    """Our section, with the sum by which an edit is seen."""
    begin = f"<!-- tcnzoo:begin {_digest(body)}: written anew by every save; edit the rest -->"
    return f"{begin}\n{body}<!-- tcnzoo:end -->"


def _digest(body: str) -> str:
    """A sum of the text that does not mind how its lines end."""
    return hashlib.sha256("\n".join(body.splitlines()).encode()).hexdigest()[:16]


def _with_licence(card: str, licence: str) -> str:
    """A card that says the licence in its front matter."""
    line = f"license: {json.dumps(licence, ensure_ascii=False)}"
    front = _FRONT.match(card)
    if front is None:
        return f"---\n{line}\n---\n\n{card}"
    lines = front["lines"].splitlines()
    others = [other for other in lines if not other.startswith("license:")]
    return "\n".join(["---", *others, line, "---", ""]) + card[front.end() :]


def _licence_in(card: str) -> str | None:
    """The licence that the front matter of a card says."""
    front = _FRONT.match(card)
    match = _LICENCE.search(front["lines"]) if front else None
    return match["value"].strip("\"'") or None if match else None


def _body(path: Path, spec: Spec, licence: str | None, parity: ParityReport | None) -> str:
    """What our section says."""
    description = describe(spec)
    sections = {
        "Model": _table(("", ""), _facts(spec, description, licence)),
        "Layers": _layers(spec, description),
        "Use": _USE.format(folder=path.parent.name, axes=_axes(spec)),
        "Parity": _NO_PARITY if parity is None else _parity(parity),
    }
    return "\n".join(f"## {title}\n\n{text}" for title, text in sections.items())


def _axes(spec: Spec) -> str:
    """What stands between batch and time in the model's input."""
    channels = str(spec.input_channels or "channels")
    return f"{channels}, {spec.input_devices or 'devices'}" if spec.signal_rank == 4 else channels


def _facts(spec: Spec, description: Description, licence: str | None) -> Iterator[tuple[str, str]]:
    """What holds for the whole model."""
    yield "kind", f"`{spec.kind}`"
    yield "trained values", f"{description.trainable:,}"
    yield "running statistics", f"{description.buffers:,}"
    yield "receptive field", _steps(description.receptive_field)
    yield "shortest signal", _steps(spec.min_length())
    yield "stride", f"{description.stride} input steps for an output step"
    if description.whole_signal:
        yield "whole signal", "seen by " + ", ".join(description.whole_signal)
    if description.obstacle is None:
        state = f"state of {description.state_values:,} values"
        yield "streaming", f"latency {_steps(description.latency or 0)}, {state}"
    else:
        yield "streaming", f"no: {description.obstacle}"
    yield (
        "cost",
        f"{description.macs:,} multiply-accumulates for {_steps(description.input_shape[-1])}",
    )
    yield "licence of the weights", licence or "not stated"


def _steps(number: int) -> str:
    """A number of time steps."""
    return f"{number:,} step{'' if number == 1 else 's'}"


def _layers(spec: Spec, description: Description) -> str:
    """The table of layers: what each is, and its fields that are not at their defaults."""
    parts = {"output": spec, **dict(_parts("", spec))}
    rows = (
        (
            f"`{layer.path}`",
            layer.kind,
            _settings(parts[layer.path]) if layer.path in parts else "",
            " x ".join(map(str, layer.output_shape)),
            f"{layer.trainable:,}" + (f" + {layer.buffers:,}" if layer.buffers else ""),
            f"{layer.receptive_field:,}",
        )
        for layer in description.layers
    )
    shape = " x ".join(map(str, description.input_shape))
    headings = ("layer", "kind", "fields", f"output for {shape}", "values", "receptive field")
    return _table(headings, rows)


def _parts(path: str, spec: Spec) -> Iterator[tuple[str, Spec]]:
    """Every part by its dotted path."""
    for name, part in spec.children().items():
        dotted = f"{path}.{name}" if path else name
        yield dotted, part
        yield from _parts(dotted, part)


def _settings(spec: BaseModel) -> str:
    """The fields of one part that are not at their defaults."""
    names = spec.model_dump(exclude_defaults=True, exclude={"kind"})
    return ", ".join(f"{name} {_value(getattr(spec, name))}" for name in names)


def _value(value: Any) -> str:
    """One field as text; a part within is its name or kind and its own fields."""
    if isinstance(value, BaseModel):
        named = "name" if "name" in type(value).model_fields else "kind"
        inner = value.model_dump(exclude_defaults=True, exclude={"kind", "name"})
        fields = ", ".join(f"{name} {_value(getattr(value, name))}" for name in inner)
        return str(getattr(value, named, "")) + (f" ({fields})" if fields else "")
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _parity(report: ParityReport) -> str:
    """The table of a parity report."""
    rows = (
        (
            row.backend,
            f"{row.output_error:.1e}",
            "-" if row.stream_error is None else f"{row.stream_error:.1e}",
            "-" if row.gradient_error is None else f"{row.gradient_error:.1e}",
            "yes" if row.passed else "NO",
        )
        for row in report.rows
    )
    text = (
        f"Largest error relative to max(1, largest value), against the float64 reference, on noise "
        f"of shape {report.input_shape}; up to {report.tolerance:.0e} is rounding.\n\n"
    )
    return text + _table(("backend", "output", "streamed", "gradients", "agrees"), rows)


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [headings, ("---",) * len(headings), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )
