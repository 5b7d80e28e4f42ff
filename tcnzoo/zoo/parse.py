"""Specs from dictionaries: the model, or one sentence that says what is wrong with it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from tcnzoo.errors import SpecError, suggestion
from tcnzoo.files.bounds import cut, plain, shortened
from tcnzoo.specs import SPEC_ADAPTER, Spec
from tcnzoo.specs.base import KINDS
from tcnzoo.specs.union import MODELS


def parse_spec(document: Mapping[str, Any]) -> Spec:
    """Build a spec from a dictionary with a `kind`.

    Raises:
        SpecError: one sentence that names the field, what came, and what is allowed.
    """
    if not isinstance(document, Mapping) or "kind" not in document:
        raise SpecError(
            "a spec is a mapping with a 'kind', such as "
            "{kind: tcn, in_channels: 3, channels: [8]}, "
            f"but got {shortened(document)}"
        )
    kind = document["kind"]
    own = MODELS.get(kind) if isinstance(kind, str) else None
    if own is not None:
        with suppress(ValidationError):  # which the union words below
            return own.model_validate(dict(document))
    try:
        return SPEC_ADAPTER.validate_python(dict(document))
    except ValidationError as error:
        raise SpecError(_sentence(error, document)) from None


def _sentence(error: ValidationError, document: Mapping[str, Any]) -> str:
    """One sentence for the most telling problem of a validation."""
    problems = error.errors(include_url=False)
    order = {"union_tag_invalid": 0, "extra_forbidden": 1}
    problem = min(problems, key=lambda entry: order.get(entry["type"], 2))
    path, kind = _path(problem["loc"], document)
    path = [plain(part) for part in path]
    where = ".".join(path)
    came = shortened(problem["input"])
    if problem["type"] == "union_tag_invalid":
        context = problem["ctx"]
        known = [tag.strip("' ") for tag in str(context["expected_tags"]).split(",")]
        tag = cut(str(context["tag"]))
        return f"unknown kind {tag!r}{_at(where)}{suggestion(tag, known)}"
    if problem["type"] == "extra_forbidden":
        known = _fields(kind) if kind else []
        return f"unknown field {path[-1]!r}{_at('.'.join(path[:-1]))}{suggestion(path[-1], known)}"
    if problem["type"] == "missing":
        return f"field {where!r} is missing"
    if problem["type"] == "value_error":
        return f"{where + ': ' if where else ''}{problem['ctx']['error']}"
    return f"field {where!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}, but got {came}"


def _path(loc: Sequence[str | int], document: Any) -> tuple[list[str], str]:
    """Find the path of a problem, without the kinds that pydantic puts in, and the kind around it.

    A kind can also be the name of a field (`dropout`, `pool`), so the document tells them apart.
    """
    path: list[str] = []
    around = kind = ""
    for part in loc:
        if not kind and isinstance(document, Mapping) and document.get("kind") == part:
            kind = str(part)
            continue
        path.append(str(part))
        around, kind = kind, ""
        document = _inside(document, part)
    return path, around


def _inside(document: Any, part: str | int) -> Any:
    """The entry of a mapping or list, or None."""
    if isinstance(document, Mapping):
        return document.get(part)
    within = isinstance(document, list | tuple) and isinstance(part, int) and part < len(document)
    return document[part] if within else None


def _at(where: str) -> str:
    """` at <where>`, or nothing at the top."""
    return f" at {where!r}" if where else ""


def _fields(kind: str) -> list[str]:
    """Fields of a kind."""
    return [name for name in KINDS[kind].model_fields if name != "kind"]
