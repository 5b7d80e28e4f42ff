"""Any spec, by its `kind`: the unions of all registered classes, and the fields that take them."""

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BaseModel, Field, TypeAdapter

from tcnzoo.specs.base import KINDS, Spec
from tcnzoo.specs.families import import_families
from tcnzoo.specs.graph import NodeSpec

if TYPE_CHECKING:
    from tcnzoo.specs.base import AnySpec, NodeLayer

__all__ = ["SPEC_ADAPTER", "AnySpec", "NodeLayer"]

import_families("tcnzoo.specs")


def _union(*usages: str) -> Any:
    """The union of the classes of some usages, told apart by their kinds."""
    classes = [spec_class for spec_class in KINDS.values() if spec_class.usage in usages]
    classes.sort(key=lambda spec_class: (usages.index(spec_class.usage), spec_class.__name__))
    return Annotated[Union[tuple(classes)], Field(discriminator="kind")]  # noqa: UP007 - at run time


_UNIONS = {"AnySpec": _union("model"), "NodeLayer": _union("model", "node")}
if not TYPE_CHECKING:
    AnySpec, NodeLayer = _UNIONS.values()

# Those with fields of any kind could not be completed before all classes were there.
_waiting: list[type[BaseModel]] = [NodeSpec, *KINDS.values()]
for _model in _waiting:
    if not _model.__pydantic_complete__:
        _model.model_rebuild(_types_namespace=_UNIONS)

SPEC_ADAPTER: TypeAdapter[Spec] = TypeAdapter(_UNIONS["AnySpec"])
