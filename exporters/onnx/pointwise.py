"""Pointwise blocks of the core as nodes, so that a new one needs no file here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from typing import Any

from tcnzoo.models.pointwise import POINTWISE, Formula
from tcnzoo.specs.activation import ActivationSpec

from .activation import OPERATORS
from .block import BlockWriter, writes
from .builder import Value


@dataclass(frozen=True)
class Expression:
    """A value of the graph with Python's arithmetic, each operation of which appends a node.

    Attributes:
        block: that the nodes belong to.
        value: in the graph.
    """

    block: BlockWriter[Any]
    value: Value

    def _with(
        self, operator: str, other: "Expression | float", reverse: bool = False
    ) -> "Expression":
        right = other.value if isinstance(other, Expression) else self._number(other)
        left, right = (right, self.value) if reverse else (self.value, right)
        name = self.block.op(operator, left, right)
        may_be_empty = left.may_be_empty or right.may_be_empty
        return Expression(self.block, Value(name, _shape(left, right), may_be_empty))

    def _number(self, number: float) -> Value:
        return Value(self.block.graph.constant(number), ())

    def __add__(self, other: "Expression | float") -> "Expression":
        """The sum."""
        return self._with("Add", other)

    def __sub__(self, other: "Expression | float") -> "Expression":
        """The difference."""
        return self._with("Sub", other)

    def __mul__(self, other: "Expression | float") -> "Expression":
        """The product."""
        return self._with("Mul", other)

    def __truediv__(self, other: "Expression | float") -> "Expression":
        """The quotient."""
        return self._with("Div", other)

    def __radd__(self, other: float) -> "Expression":
        """The sum with a number before it."""
        return self._with("Add", other, reverse=True)

    def __rsub__(self, other: float) -> "Expression":
        """The difference from a number."""
        return self._with("Sub", other, reverse=True)

    def __rmul__(self, other: float) -> "Expression":
        """The product with a number before it."""
        return self._with("Mul", other, reverse=True)

    def __rtruediv__(self, other: float) -> "Expression":
        """A number divided by it."""
        return self._with("Div", other, reverse=True)

    def __neg__(self) -> "Expression":
        """The value with the sign changed."""
        return Expression(self.block, replace(self.value, name=self.block.op("Neg", self.value)))


def _shape(left: Value, right: Value) -> tuple[int | None, ...]:
    """Shape of what two values give that broadcast against each other."""
    shapes = zip_longest(reversed(left.shape), reversed(right.shape), fillvalue=1)
    return tuple(other if size == 1 else size for size, other in shapes)[::-1]


class GraphFunctions:
    """The array functions of pointwise blocks, as operators."""

    channels = 1

    def activate(self, x: Expression, spec: ActivationSpec) -> Expression:
        """Apply the activation that `spec` names."""
        name = OPERATORS[spec.name](x.block, x.value, spec)
        return Expression(x.block, replace(x.value, name=name))

    def halves(self, x: Expression) -> tuple[Expression, Expression]:
        """The first and the second half of the channels."""
        half = x.value.channels // 2
        inputs = [x.value.name, x.block.graph.integers(half, half)]
        names = x.block.graph.add("Split", inputs, x.block.path, outputs=2, axis=1)
        shape = (half, *x.value.shape[1:])
        first, second = (Expression(x.block, replace(x.value, name=n, shape=shape)) for n in names)
        return first, second

    def per_channel(self, vector: Expression, x: Expression) -> Expression:
        """A vector (channels,) with an axis of size 1 for each that x has after its channels."""
        if not x.value.is_signal:
            return vector
        ones = [1] * (len(x.value.shape) - 1)
        axes = [1, 2] if x.block.wide or x.value.has_devices else [1]
        name = x.block.op("Unsqueeze", vector.value, x.block.graph.integers(*axes))
        return Expression(x.block, Value(name, (vector.value.channels, *ones)))


def write_formula(formula: Formula, block: BlockWriter[Any], x: Value) -> Value:
    """Write a pointwise block by its formula; its own arrays become initializers."""
    weights: Mapping[str, Expression] = {
        name: Expression(block, Value(block.initializer(name), param.shape))
        for name, param in block.spec.own_params().items()
    }
    result: Expression = formula(GraphFunctions(), Expression(block, x), block.spec, weights)
    return result.value


for _kind, _formula in POINTWISE.items():
    writes(_kind)(partial(write_formula, _formula))
