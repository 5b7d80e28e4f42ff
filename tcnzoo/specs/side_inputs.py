"""Which layer of a composition takes which of the arrays that come beside the signal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tcnzoo.errors import InputError
from tcnzoo.specs.base import PROBE, EmbeddingSpec, Shape, SideInput, Spec

T = TypeVar("T")


@dataclass(frozen=True)
class Routes:
    """Which of a composition's side inputs each of its layers takes.

    Attributes:
        specs: those of the composition, in order.
        places: layer -> their places among `specs`; only layers that take some.
    """

    specs: tuple[SideInput, ...]
    places: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, layers: Mapping[str, Spec]) -> "Routes":
        """Those of named layers; arrays of one name are one.

        Raises:
            ValueError: unnamed embeddings of two layers, or two kinds of array under one name.
        """
        specs: list[SideInput] = []
        places: dict[str, tuple[int, ...]] = {}
        unnamed: list[str] = []
        by_name: dict[str, tuple[str, int]] = {}
        for layer, spec in layers.items():
            own = []
            for wanted in spec.embedding_specs:
                if wanted.name is None:
                    unnamed += [layer] if layer not in unnamed else []
                elif wanted.name in by_name:
                    before, place = by_name[wanted.name]
                    if specs[place] != wanted:
                        raise ValueError(
                            f"layers {before!r} and {layer!r} take different arrays under one "
                            f"name, {wanted.name!r}"
                        )
                    own.append(place)
                    continue
                else:
                    by_name[wanted.name] = layer, len(specs)
                own.append(len(specs))
                specs.append(wanted)
            if own:
                places[layer] = tuple(own)
        if len(unnamed) > 1:
            raise ValueError(
                f"one layer may take embeddings without a name, but {', '.join(unnamed)} do"
            )
        return cls(tuple(specs), places)

    def inputs(self, layer: str, arrays: Sequence[Any]) -> dict[str, Any]:
        """The argument `embeddings` of a layer, where it takes some; `arrays` go with `specs`."""
        return {"embeddings": self.taken(layer, arrays)} if layer in self.places else {}

    def taken(self, layer: str, arrays: Sequence[T]) -> tuple[T, ...]:
        """Those of `arrays`, which go with `specs`, that a layer takes."""
        return tuple(arrays[place] for place in self.places.get(layer, ()))

    def shapes(self, layers: Mapping[str, Spec], reaching: Mapping[str, Shape]) -> list[Shape]:
        """Shape of each array, without batch.

        Args:
            layers: those that the routes were made of.
            reaching: shape of the signal that reaches each of them.
        Raises:
            InputError: two layers of different lengths share an array.
        """
        by_place: dict[int, tuple[str, Shape]] = {}
        for layer, places in self.places.items():
            shapes = layers[layer].embedding_shapes(reaching[layer])
            for place, shape in zip(places, shapes, strict=True):
                before, known = by_place.setdefault(place, (layer, shape))
                if known != shape:
                    raise InputError(
                        f"layers {before!r} and {layer!r} share {self.specs[place].name!r}, which "
                        f"would be (batch, {', '.join(map(str, known))}) for one and "
                        f"(batch, {', '.join(map(str, shape))}) for the other"
                    )
        return [by_place[place][1] for place in range(len(self.specs))]

    def check_steps(self, layers: Mapping[str, Spec], reaching: Mapping[str, Shape]) -> None:
        """Raise ValueError where an embedding goes with steps that are not those of the input.

        Args:
            layers: those that the routes were made of.
            reaching: shape of the signal that reaches each, for an input of PROBE steps.
        """
        for layer in self.places:
            per_step = any(
                isinstance(wanted, EmbeddingSpec) and wanted.per_step
                for wanted in layers[layer].embedding_specs
            )
            if per_step and reaching[layer][-1:] != (PROBE,):
                raise ValueError(
                    f"layer {layer!r} takes an embedding for each step of the input, so the layers "
                    "before it must keep the length of the signal, but they change it"
                )

    def mask_blocker(self, layers: Mapping[str, Spec], reaching: Mapping[str, Shape]) -> str | None:
        """Why masks stand against streaming, or None; arguments as in `check_steps`."""
        for layer in self.places:
            masks = any(wanted.role == "mask" for wanted in layers[layer].embedding_specs)
            if masks and reaching[layer][-1:] != (PROBE,):
                return (
                    f"layer {layer!r} takes a mask of its own steps, which are not those of the "
                    "input, so chunks of the two do not go together"
                )
        return None
