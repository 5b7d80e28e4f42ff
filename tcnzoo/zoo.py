"""Specs by name, file or dictionary, and the presets that come with the package."""

import json
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tcnzoo.errors import InputError, SpecError, suggestion
from tcnzoo.files import settle_committed
from tcnzoo.specs import SPEC_ADAPTER, Spec

PRESETS = resources.files("tcnzoo") / "presets"


class InputFacts(BaseModel):
    """The signal that a preset is meant for.

    Attributes:
        channels: of the signal.
        length: time steps of one window.
        sampling_rate: in Hz, where there is one.
        devices: where the signal is (channels, devices, time).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int
    length: int
    sampling_rate: float | None = None
    devices: int | None = None


class Preset(BaseModel):
    """A named model: what it is, where it comes from, and its spec as a dictionary."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    source: str
    licence: str
    input: InputFacts
    spec: dict[str, Any]


def list_models() -> list[str]:
    """Names of the presets, sorted."""
    return sorted(
        file.name.removesuffix(".yaml") for file in PRESETS.iterdir() if file.name.endswith(".yaml")
    )


def preset(name: str) -> Preset:
    """Read a preset by name.

    Raises:
        SpecError: no preset of that name; the nearest one is suggested.
    """
    import yaml  # 15 ms that `import tcnzoo` does without

    if name not in list_models():
        raise SpecError(f"unknown model {name!r}{suggestion(name, list_models())}")
    return Preset.model_validate(yaml.safe_load((PRESETS / f"{name}.yaml").read_text("utf-8")))


def parse_spec(document: Mapping[str, Any]) -> Spec:
    """Build a spec from a dictionary with a `kind`.

    Raises:
        SpecError: one sentence that names the field, what came, and what is allowed.
    """
    if not isinstance(document, Mapping) or "kind" not in document:
        raise SpecError(
            "a spec is a mapping with a 'kind', such as "
            "{kind: tcn, in_channels: 3, channels: [8]}, "
            f"but got {_shortened(document)}"
        )
    try:
        return SPEC_ADAPTER.validate_python(dict(document))
    except ValidationError as error:
        raise SpecError(_sentence(error, document)) from None


def spec_document(source: str | os.PathLike[str] | Mapping[str, Any] | Spec) -> dict[str, Any]:
    """The dictionary behind a preset name, file, checkpoint directory, dictionary or spec."""
    if isinstance(source, Spec):
        return source.model_dump(mode="json")
    if isinstance(source, Mapping):
        return _spec_within(source, "the dictionary")
    if not isinstance(source, str | os.PathLike):
        raise SpecError(f"a spec is a name, a file or a mapping, but got {_shortened(source)}")
    path = Path(source)
    if path.is_dir():
        settle_committed(path)
        path = path / "config.json"
    if path.suffix in (".yaml", ".yml", ".json"):
        return _spec_within(read_mapping(path), repr(str(path)))
    if str(source) in list_models() or not path.exists():
        return preset(str(source)).spec
    raise SpecError(f"a spec file ends in .yaml, .yml or .json, but got {str(source)!r}")


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON file that holds a mapping.

    Raises:
        InputError: no such file.
        SpecError: anything else in it.
    """
    import yaml  # as above

    # YAML takes most of JSON, but neither tabs between values nor 1e-5 for a number.
    load = json.loads if path.suffix == ".json" else yaml.safe_load
    try:
        document = load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"no spec at {str(path)!r}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"{str(path)!r} is not valid YAML or JSON: {_first_line(error)}") from None
    if not isinstance(document, dict):
        raise SpecError(f"{str(path)!r} must hold a mapping, but holds {_shortened(document)}")
    return document


def _spec_within(document: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The spec that a mapping is, holds under `spec`, or asks for as another project's file."""
    if "modelConfig" in document and not {"spec", "kind"} & document.keys():
        from tcnzoo.osd_config import osd_config_of  # which builds on this module

        return osd_config_of(document, place).spec.model_dump(mode="json")
    if "model" in document and not {"spec", "kind"} & document.keys():
        from tcnzoo.brain_go_brr_config import detector_config_of, is_detector_config

        if is_detector_config(document):  # that module builds on this one
            return detector_config_of(document, place).spec.model_dump(mode="json")
    inner = document.get("spec", document)
    if not isinstance(inner, Mapping):
        raise SpecError(f"'spec' in {place} must be a mapping, but is {_shortened(inner)}")
    return dict(inner)


def load_spec(source: str | os.PathLike[str] | Mapping[str, Any] | Spec, **overrides: Any) -> Spec:
    """Build a spec from a preset's name, YAML or JSON file, checkpoint directory or dictionary.

    Args:
        source: where the spec is; a file may be an `nnConfig*.json` of OpenSeizureDetector or a
            configuration of brain-go-brr-v2 too (see `tcnzoo.osd_config` and
            `tcnzoo.brain_go_brr_config`).
        overrides: fields to change, dotted for inner ones: `**{"layers.conv14.stride": 1}`.
    Raises:
        SpecError: unknown model, field or value.
        InputError: a file that is not there.
    """
    if isinstance(source, Spec) and not overrides:
        return source
    document = spec_document(source)
    for dotted, value in overrides.items():
        document = _overridden(document, dotted.split("."), value, dotted)
    return parse_spec(document)


def _overridden(document: Any, path: list[str], value: Any, dotted: str) -> Any:
    """Copy a document with one value replaced; new fields may appear at the last step only."""
    head, rest = path[0], path[1:]
    if isinstance(document, list | tuple):
        places = [str(place) for place in range(len(document))]
        if head not in places:
            raise SpecError(f"cannot set {dotted!r}: {head!r} is not one of 0..{len(places) - 1}")
        changed = list(document)
        changed[int(head)] = _overridden(changed[int(head)], rest, value, dotted) if rest else value
        return changed
    if not isinstance(document, dict):
        raise SpecError(f"cannot set {dotted!r}: {head!r} is below a plain value")
    if rest and head not in document:
        raise SpecError(f"cannot set {dotted!r}: no {head!r}{suggestion(head, document)}")
    inner = _overridden(document[head], rest, value, dotted) if rest else value
    return {**document, head: inner}


def _sentence(error: ValidationError, document: Mapping[str, Any]) -> str:
    """One sentence for the most telling problem of a validation."""
    problems = error.errors(include_url=False)
    order = {"union_tag_invalid": 0, "extra_forbidden": 1}
    problem = min(problems, key=lambda one: order.get(one["type"], 2))
    place, kind = _place(problem["loc"], document)
    where = ".".join(place)
    came = _shortened(problem["input"])
    if problem["type"] == "union_tag_invalid":
        context = problem["ctx"]
        known = [tag.strip("' ") for tag in str(context["expected_tags"]).split(",")]
        tag = str(context["tag"])
        return f"unknown kind {tag!r}{_at(where)}{suggestion(tag, known)}"
    if problem["type"] == "extra_forbidden":
        known = _fields(kind) if kind else []
        return (
            f"unknown field {place[-1]!r}{_at('.'.join(place[:-1]))}{suggestion(place[-1], known)}"
        )
    if problem["type"] == "missing":
        return f"field {where!r} is missing"
    if problem["type"] == "value_error":
        return f"{where + ': ' if where else ''}{problem['ctx']['error']}"
    return f"field {where!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}, but got {came}"


def _place(loc: Sequence[str | int], document: Any) -> tuple[list[str], str]:
    """Find the path of a problem, without the kinds that pydantic puts in, and the kind around it.

    A kind can also be the name of a field (`dropout`, `pool`), so the document tells them apart.
    """
    place: list[str] = []
    around = kind = ""
    for part in loc:
        if not kind and isinstance(document, Mapping) and document.get("kind") == part:
            kind = str(part)
            continue
        place.append(str(part))
        around, kind = kind, ""
        document = _inside(document, part)
    return place, around


def _inside(document: Any, part: str | int) -> Any:
    """The entry of a mapping or list, or None."""
    if isinstance(document, Mapping):
        return document.get(part)
    within = isinstance(document, list | tuple) and isinstance(part, int) and part < len(document)
    return document[part] if within else None


def _at(where: str) -> str:
    """` at <where>`, or nothing at the top."""
    return f" at {where!r}" if where else ""


def _kinds() -> dict[str, type[Spec]]:
    """Spec class of each kind."""
    from tcnzoo import specs

    classes = [item for item in vars(specs).values() if isinstance(item, type)]
    return {
        item.model_fields["kind"].default: item
        for item in classes
        if issubclass(item, Spec) and item is not Spec
    }


def _fields(kind: str) -> list[str]:
    """Fields of a kind."""
    return [name for name in _kinds()[kind].model_fields if name != "kind"]


def _shortened(value: Any) -> str:
    """A value as text, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _first_line(error: Exception) -> str:
    """First line of an error's text."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
