"""One sentence for what is wrong with a configuration."""

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from tcnzoo.errors import suggestion

LONGEST = 60


def sentence(error: ValidationError, model: type[BaseModel]) -> str:
    """The most specific problem of a validation: the path, the value, and a suggestion."""
    order = {"union_tag_invalid": 0, "union_tag_not_found": 0, "extra_forbidden": 1}
    problems = error.errors(include_url=False)
    problem = min(problems, key=lambda entry: order.get(entry["type"], 2))
    path, owner = _place(problem["loc"], model)
    where = ".".join(path)
    if problem["type"] == "union_tag_invalid":
        known = [tag.strip("' ") for tag in str(problem["ctx"]["expected_tags"]).split(",")]
        tag = str(problem["ctx"]["tag"])
        return f"unknown kind {tag!r} at {where!r}{suggestion(tag, known)}"
    if problem["type"] == "union_tag_not_found":
        return f"{where!r} lacks its 'kind'"
    if problem["type"] == "extra_forbidden":
        above = f" at {'.'.join(path[:-1])!r}" if path[1:] else ""
        near = suggestion(path[-1], owner.model_fields) if owner else ""
        return f"unknown field {path[-1]!r}{above}{near}"
    if problem["type"] == "missing":
        return f"field {where!r} is missing"
    if problem["type"] == "value_error":
        return f"{where + ': ' if where else ''}{problem['ctx']['error']}"
    came = _shortened(problem["input"])
    return f"field {where!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}, but got {came}"


def _place(
    loc: Sequence[str | int], model: type[BaseModel]
) -> tuple[list[str], type[BaseModel] | None]:
    """The path of a problem without the kinds that pydantic puts in, and the class around it."""
    path: list[str] = []
    candidates, owner = [model], None
    for part in loc:
        tagged = [candidate for candidate in candidates if _tag(candidate) == part]
        if tagged and len(candidates) > 1:
            candidates = tagged
            continue
        path.append(str(part))
        if isinstance(part, int):
            continue
        owner = candidates[0] if candidates else None
        field = owner.model_fields.get(part) if owner else None
        candidates = list(_models(field.annotation)) if field else []
    return path, owner


def _tag(model: type[BaseModel]) -> Any:
    """The `kind` of a class, or None."""
    field = model.model_fields.get("kind")
    return None if field is None else field.default


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The classes in an annotation, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _shortened(value: Any) -> str:
    """A value as text, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
