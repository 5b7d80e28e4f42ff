"""Looking at layers that were read: of which kinds they are, and which numbers they multiply by."""

import math
from collections.abc import Iterator

from ..layers import Layer, Program

# Constants are given in any float type, down to float16.
CLOSE = 5e-4
# Products within products that are looked at; more than any pattern has.
DEPTH = 5

Product = tuple[float, tuple[int, ...]]


class Matcher:
    """Looks at the layers of a program."""

    def __init__(self, program: Program) -> None:
        """Keep the program."""
        self.program = program

    def is_a(self, number: int, kind: str, **fields: object) -> Layer | None:
        """The layer, if it is of a kind and has some fields."""
        layer = self.program[number]
        if layer is None or layer.kind != kind:
            return None
        return (
            layer
            if all(layer.fields.get(name) == value for name, value in fields.items())
            else None
        )

    def before(self, number: int, kind: str, **fields: object) -> int | None:
        """What a layer of a kind reads first."""
        layer = self.is_a(number, kind, **fields)
        return None if layer is None else layer.inputs[0]

    def constant(self, number: int, name: str) -> float | None:
        """The one number of an affine layer that only scales or only shifts."""
        layer = self.is_a(number, "affine")
        if layer is None or list(layer.arrays) != [name] or layer.arrays[name].array.size != 1:
            return None
        return float(layer.arrays[name].array.reshape(-1)[0])

    def shifted(self, number: int, by: float) -> int | None:
        """What a layer adds a number to."""
        shift = self.constant(number, "shift")
        return self.before(number, "affine") if close(shift, by) else None

    def scaled(self, number: int) -> tuple[float, int]:
        """A layer as a number times another one."""
        total, factor = 1.0, self.constant(number, "scale")
        while factor is not None:
            total, number = total * factor, self.program.layers[number].inputs[0]
            factor = self.constant(number, "scale")
        return total, number

    def pairs(self, number: int) -> Iterator[tuple[float, int, int]]:
        """A layer as a number times two others, each with and without the number on itself."""
        factor, base = self.scaled(number)
        layer = self.is_a(base, "merge", mode="multiply")
        if layer is None or len(layer.inputs) != 2:
            return
        for left, right in (layer.inputs, layer.inputs[::-1]):
            inner, bare = self.scaled(right)
            yield factor * inner, left, bare
            if bare != right:
                yield factor, left, right
            more, plain = self.scaled(left)
            if plain != left:
                yield factor * more * inner, plain, bare

    def product(self, number: int, of: tuple[int, ...], depth: int = DEPTH) -> Product:
        """A layer as a number times other layers, where those in `of` are not looked into."""
        factor, layer = self.constant(number, "scale"), self.program[number]
        if number in of or layer is None or not depth:
            return 1.0, (number,)
        if factor is not None:
            inner, rest = self.product(layer.inputs[0], of, depth - 1)
            return factor * inner, rest
        if self.is_a(number, "merge", mode="multiply") is None:
            return 1.0, (number,)
        total, factors = 1.0, tuple[int, ...]()
        for source in layer.inputs:
            inner, rest = self.product(source, of, depth - 1)
            total, factors = total * inner, factors + rest
        return total, factors

    def is_product(self, number: int, factor: float, *of: int) -> bool:
        """Whether a layer is a number times some others, in any order."""
        total, factors = self.product(number, of)
        return close(total, factor) and sorted(factors) == sorted(of)


def close(value: float | None, wanted: float) -> bool:
    """Whether a constant is the one that is meant."""
    return value is not None and math.isclose(value, wanted, rel_tol=CLOSE)
