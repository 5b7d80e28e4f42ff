"""What the standard says of an operator, held against a node: its attributes, inputs and outputs.

A reader that passes over an attribute that it does not know would compute something else than what
the file says; runtimes refuse such a file, and so it is refused here.

Source: the schemas of the installed onnx.
"""

import difflib
from pathlib import Path
from typing import Any

from tcnzoo.errors import WeightError

from ...containers.onnx import text


def check_nodes(path: Path, model: Any, opset: int) -> None:
    """Raise WeightError unless every node is one that its operator allows.

    Operators that the standard does not have are left to the reader, which names those it reads.
    """
    schemas: dict[str, Any] = {}
    for node in model.graph.node:
        op = text(node.op_type)
        label = f"node {text(node.name) or text(next(iter(node.output), ''))!r} ({op})"
        if op not in schemas:
            schemas[op] = _schema(f"{label} of {str(path)!r}", op, opset)
        if schemas[op] is not None:
            _check(f"{label} of {str(path)!r}", node, schemas[op], opset)


def _schema(label: str, op: str, opset: int) -> Any:
    """The operator as it is in an operator set; None for one that the standard does not have."""
    import onnx

    if not onnx.defs.has(op):
        return None
    try:
        schema = onnx.defs.get_schema(op, opset)
    except onnx.defs.SchemaError:
        raise WeightError(f"{label} is malformed: operator set {opset} has no {op} yet") from None
    if schema.deprecated:
        raise WeightError(f"{label} is malformed: operator set {opset} has no {op} any more")
    return schema


def _check(label: str, node: Any, schema: Any, opset: int) -> None:
    """Raise WeightError where a node and its operator differ."""
    op = schema.name
    given = {text(item.name): item for item in node.attribute}
    if len(given) < len(node.attribute):
        raise WeightError(f"{label} is malformed: it names an attribute twice")
    for name, attribute in given.items():
        if name not in schema.attributes:
            close = difflib.get_close_matches(name, schema.attributes, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise WeightError(
                f"{label} is malformed: {op} of operator set {opset} has no attribute "
                f"{name!r}{hint}"
            )
        if attribute.type != schema.attributes[name].type.value:
            raise WeightError(f"{label} is malformed: its attribute {name!r} is of another type")
    missing = [name for name, item in schema.attributes.items() if item.required]
    for name in missing:
        if name not in given:
            raise WeightError(f"{label} is malformed: it needs the attribute {name!r}")
    counts = (
        ("inputs", len(node.input), schema.min_input, schema.max_input),
        ("outputs", len(node.output), schema.min_output, schema.max_output),
    )
    for what, count, least, most in counts:
        if not least <= count <= most:
            raise WeightError(
                f"{label} is malformed: it has {count} {what}, where {op} of operator set {opset} "
                f"has {least}{f' to {most}' if most > least else ''}"
            )
