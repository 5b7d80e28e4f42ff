"""Specs by name, file or dictionary, and the presets that come with the package."""

import copy
import functools
import os
import warnings
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tcnzoo.errors import SpecError, suggestion
from tcnzoo.files.bounds import cut, shortened
from tcnzoo.files.documents import parse_yaml, read_mapping
from tcnzoo.specs import Spec
from tcnzoo.zoo.parse import parse_spec

PRESETS = resources.files("tcnzoo.zoo") / "presets"


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
    if name not in list_models():
        raise SpecError(f"unknown model {cut(name)!r}{suggestion(name, list_models())}")
    return Preset.model_validate(copy.deepcopy(_document(name)))


@functools.cache
def _document(name: str) -> Any:
    """The YAML of a preset, which one command may ask for several times."""
    return parse_yaml((PRESETS / f"{name}.yaml").read_text("utf-8"))


def spec_document(
    source: str | os.PathLike[str] | Mapping[str, Any] | Spec, *, literal: bool = False
) -> dict[str, Any]:
    """The dictionary behind a preset name, file, checkpoint directory, dictionary or spec.

    See `load_spec`.
    """
    if isinstance(source, Spec):
        return source.model_dump(mode="json")
    if isinstance(source, Mapping):
        return _spec_within(source, "the dictionary", literal)
    if not isinstance(source, str | os.PathLike):
        raise SpecError(f"a spec is a name, a file or a mapping, but got {shortened(source)}")
    path = Path(source)
    if path.is_dir():
        from tcnzoo.zoo.configuration import described_by  # it reads tensors, and so needs numpy

        return described_by(path)
    if path.suffix in (".yaml", ".yml", ".json"):
        return _spec_within(read_mapping(path), repr(str(path)), literal)
    if str(source) in list_models() or not path.exists():
        return preset(str(source)).spec
    raise SpecError(f"a spec file ends in .yaml, .yml or .json, but got {str(source)!r}")


def input_facts(source: Any) -> InputFacts | None:
    """The signal that a model is meant for, where its preset or another project's file says it."""
    if isinstance(source, str) and source in list_models():
        return preset(source).input
    path = Path(source) if isinstance(source, str | os.PathLike) else None
    if path is None or path.suffix not in (".yaml", ".yml", ".json") or not path.is_file():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # reading the spec says it
        foreign = _foreign(read_mapping(path), repr(str(path)), literal=False)
    if foreign is None:
        return None
    return InputFacts(
        channels=foreign.spec.input_channels or 1,
        length=foreign.input_length,
        sampling_rate=foreign.sampling_rate,
    )


def _foreign(document: Mapping[str, Any], source: str, *, literal: bool) -> Any:
    """The model and signal of another project's configuration; None for any other mapping."""
    if {"spec", "kind"} & document.keys():
        return None
    if "modelConfig" in document:
        from tcnzoo.zoo.foreign.osd import osd_config_of  # when one is first met

        return osd_config_of(document, source)
    if "model" in document:
        from tcnzoo.zoo.foreign.brain_go_brr import detector_config_of, is_detector_config

        if is_detector_config(document):
            return detector_config_of(document, source, literal=literal)
    return None


def _spec_within(document: Mapping[str, Any], source: str, literal: bool) -> dict[str, Any]:
    """The spec that a mapping is, holds under `spec`, or asks for as another project's file."""
    foreign = _foreign(document, source, literal=literal)
    if foreign is not None:
        described: dict[str, Any] = foreign.spec.model_dump(mode="json")
        return described
    inner = document.get("spec", document)
    if not isinstance(inner, Mapping):
        raise SpecError(f"'spec' in {source} must be a mapping, but is {shortened(inner)}")
    return dict(inner)


def load_spec(
    source: str | os.PathLike[str] | Mapping[str, Any] | Spec,
    *,
    literal: bool = False,
    **overrides: Any,
) -> Spec:
    """Build a spec from a preset's name, YAML or JSON file, checkpoint directory or dictionary.

    Args:
        source: where the spec is; a file may be an `nnConfig*.json` of OpenSeizureDetector or a
            configuration of brain-go-brr-v2 too (see `tcnzoo.zoo.foreign.osd` and
            `tcnzoo.zoo.foreign.brain_go_brr`).
        literal: take a configuration of brain-go-brr-v2 as it stands, where the project's own code
            ignores some of it; other sources are read the same either way.
        overrides: fields to change, dotted for inner ones: `**{"layers.conv14.stride": 1}`.
    Raises:
        SpecError: unknown model, field or value.
        InputError: a file that is not there.
        WeightError: a checkpoint directory whose config.json is not that of its tensors.
    """
    if isinstance(source, Spec) and not overrides:
        return source
    if isinstance(source, Mapping) and "kind" in source and "spec" not in source:
        document = dict(source)
    else:
        document = spec_document(source, literal=literal)
    for dotted, value in overrides.items():
        document = _overridden(document, dotted.split("."), value, dotted)
    return parse_spec(document)


def _overridden(document: Any, path: list[str], value: Any, dotted: str) -> Any:
    """Copy a document with one value replaced; new fields may appear at the last step only."""
    head, rest = path[0], path[1:]
    if isinstance(document, list | tuple):
        if head not in map(str, range(len(document))):
            raise SpecError(f"cannot set {dotted!r}: {head!r} is not one of 0..{len(document) - 1}")
        changed = list(document)
        changed[int(head)] = _overridden(changed[int(head)], rest, value, dotted) if rest else value
        return changed
    if not isinstance(document, dict):
        raise SpecError(f"cannot set {dotted!r}: {head!r} is below a plain value")
    if rest and head not in document:
        raise SpecError(f"cannot set {dotted!r}: no {head!r}{suggestion(head, document)}")
    inner = _overridden(document[head], rest, value, dotted) if rest else value
    return {**document, head: inner}
