"""Any spec, by its `kind`: the unions of all registered classes, and the fields that take them."""

import sys
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tcnzoo.specs.base import KINDS, Spec
from tcnzoo.specs.families import import_families
from tcnzoo.specs.graph import NodeSpec

if TYPE_CHECKING:
    from tcnzoo.specs.base import AnySpec, NodeLayer

__all__ = ["MODELS", "SPEC_ADAPTER", "AnySpec", "NodeLayer"]

import_families("tcnzoo.specs")


def _classes(*usages: str) -> list[type[Spec]]:
    """The classes of some usages."""
    classes = [spec_class for spec_class in KINDS.values() if spec_class.usage in usages]
    return sorted(classes, key=lambda entry: (usages.index(entry.usage), entry.__name__))


def _union(*usages: str) -> Any:
    """The union of the classes of some usages, told apart by their kinds."""
    classes = tuple(_classes(*usages))
    return Annotated[Union[classes], Field(discriminator="kind")]  # noqa: UP007 - at run time


_UNIONS = {"AnySpec": _union("model"), "NodeLayer": _union("model", "node")}
if not TYPE_CHECKING:
    AnySpec, NodeLayer = _UNIONS.values()

# Those with fields of any kind could not be completed before all classes were there. Pydantic does
# so when one is first used, by the names in its module.
_waiting: list[type[BaseModel]] = [NodeSpec, *KINDS.values()]
for _model in _waiting:
    if not _model.__pydantic_complete__:
        vars(sys.modules[_model.__module__]).update(_UNIONS)

# The classes of AnySpec by kind.
MODELS = {spec_class.model_fields["kind"].default: spec_class for spec_class in _classes("model")}

# Built when it is first used, as most specs are validated by their own class.
SPEC_ADAPTER: TypeAdapter[Spec] = TypeAdapter(
    _UNIONS["AnySpec"], config=ConfigDict(defer_build=True)
)
