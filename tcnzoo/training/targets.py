"""Targets and masks of a batch, checked against a model before a step uses them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, is_real, to_numpy, to_real
from tcnzoo.errors import InputError
from tcnzoo.models.outputs import Output, first
from tcnzoo.models.side_inputs import batch_keys, check_embeddings
from tcnzoo.specs import Shape, Spec
from tcnzoo.training.losses import AnyLoss, CrossEntropy, Focal, Term, loss_names, takes_classes

# Signals and their embeddings to outputs.
Predict = Callable[[Array, Sequence[Array]], Output]

# A focal loss keeps the probability of the wrong above this, where a power of it can be derived.
TINY = 1e-12


class Targets:
    """Turns batches into the arrays that the losses of a plan need."""

    def __init__(self, spec: Spec, losses: Sequence[AnyLoss], predict: Predict) -> None:
        """Keep what is needed to know the shapes of a model's outputs.

        Args:
            spec: of the model.
            losses: of the plan.
            predict: the model in evaluation mode, called once for each shape of input, and
                only if a loss names an entry of a dictionary of outputs.
        Raises:
            SpecError: two losses of one name.
            InputError: no losses.
        """
        if not losses:
            raise InputError("training needs at least one loss, but got none")
        self.spec = spec
        self.losses = dict(zip(loss_names(losses), losses, strict=True))
        self.predict = predict
        self.known: dict[Shape, dict[str | None, Shape]] = {}

    def of(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        """Targets and masks of a batch in neutral layout.

        Returns:
            `target.<loss>`: int32 classes, (batch[, time]), or float32 values like the output;
            `mask.<loss>`: float32, (batch,) or (batch, time), where the loss has one.
        Raises:
            InputError: a missing key, a shape that does not fit, or an unknown class.
        """
        shapes = self._shapes(entry(batch, "x", "training"), batch)
        size = len(batch["x"])
        arrays: dict[str, Array] = {}
        for name, loss in self.losses.items():
            if isinstance(loss, Term):
                continue
            shape = shapes[loss.output]
            target = entry(batch, loss.target, f"loss {name!r}")
            shaped = _classes if takes_classes(loss) else _values
            arrays[f"target.{name}"] = shaped(name, loss, target, size, shape)
            if loss.mask is not None:
                mask = entry(batch, loss.mask, f"loss {name!r}")
                _check_shape(name, "mask", mask, [(size,), (size, *shape[1:])])
                arrays[f"mask.{name}"] = mask.astype(np.float32)
        return arrays

    def signal(self, batch: Mapping[str, Array]) -> Array:
        """The `x` of a batch as float32.

        Raises:
            InputError: one is missing, or holds no real numbers; see `tcnzoo.arrays.to_real`.
        """
        return to_real(entry(batch, "x", "training"), name="'x'")

    def embeddings(self, batch: Mapping[str, Array]) -> list[Array]:
        """The embeddings and masks of a batch for the model, in its order.

        Returns:
            `embedding0`, `embedding1` ..., (batch, channels) or (batch, channels, time), and masks
            by their names, (batch, tokens[, tokens]); float32.
        Raises:
            InputError: one that is not there, of another shape, or a mask of other values than 0
                and 1.
        """
        keys = batch_keys(self.spec)
        embeddings = [entry(batch, key, "the model") for key in keys]
        floats = [to_real(row, name=repr(key)) for key, row in zip(keys, embeddings, strict=True)]
        check_embeddings(self.spec, batch["x"].shape, floats)
        return floats

    def _shapes(self, x: Array, batch: Mapping[str, Array]) -> dict[str | None, Shape]:
        """Shape of each output that a loss names, without the batch axis."""
        if x.shape[1:] not in self.known:
            self.known[x.shape[1:]] = self._find_shapes(x, self.embeddings(batch))
        return self.known[x.shape[1:]]

    def _find_shapes(self, x: Array, embeddings: Sequence[Array]) -> dict[str | None, Shape]:
        """Shape of each named output for an input of a new shape."""
        if x.ndim not in (2, 3, 4) or len(x) < 1:
            raise InputError(
                f"'x' must be (batch, channels[, time]) with some examples, but has {x.shape}"
            )
        shapes: dict[str | None, Shape] = {None: self.spec.output_shape(x.shape[1:])}
        wanted = {loss.output for loss in self.losses.values() if not isinstance(loss, Term)} - {
            None
        }
        if not wanted:
            return shapes
        outputs = self.predict(x[:1], [row[:1] for row in embeddings])
        named = outputs if isinstance(outputs, dict) else {}
        for key in wanted:
            if key not in named:
                given = f"the outputs {', '.join(named)}" if named else "one output"
                raise InputError(f"a loss names the output {key!r}, but the model has {given}")
            shapes[key] = named[key].shape[1:]
        return shapes


def pick(outputs: Any, key: str | None) -> Any:
    """The output of a native model that a loss takes.

    Args:
        outputs: an array, the pair of a bare temporal block, or a dictionary.
        key: an entry of the dictionary; None for the only or the first output.
    Raises:
        InputError: no such entry.
    """
    if key is None:
        return first(outputs)
    if isinstance(outputs, tuple):
        outputs = {"output": outputs[0], "out": outputs[1]}
    if not isinstance(outputs, Mapping) or key not in outputs:
        given = ", ".join(outputs) if isinstance(outputs, Mapping) else "only one"
        raise InputError(f"a loss names the output {key!r}, but the model gives {given}")
    return outputs[key]


def class_vector(values: Sequence[float] | float, classes: int, field: str) -> Array:
    """One value for each channel of an output, as float32.

    Raises:
        InputError: a list of another length.
    """
    vector = np.asarray(values, dtype=np.float32)
    if vector.ndim and len(vector) != classes:
        raise InputError(f"{field} has {len(vector)} values, but the output has {classes} channels")
    return np.broadcast_to(vector, (classes,)).copy()


def entry(batch: Mapping[str, Array], key: str, wanted_by: str) -> Array:
    """One entry of a batch.

    Raises:
        InputError: it is not there.
    """
    if key not in batch:
        raise InputError(f"{wanted_by} needs {key!r}, but the batch holds {', '.join(batch)}")
    return to_numpy(batch[key])


def _classes(name: str, loss: AnyLoss, target: Array, size: int, shape: Shape) -> Array:
    """Integer classes, each one of the output's channels or the one to ignore."""
    if target.dtype.kind not in "iu":
        raise InputError(f"loss {name!r} takes integer classes, but the target is {target.dtype}")
    _check_shape(name, "target", target, [(size, *shape[1:])])
    ignore = loss.ignore if isinstance(loss, CrossEntropy | Focal) else None
    counted = target if ignore is None else target[target != ignore]
    if counted.size and (counted.min() < 0 or counted.max() >= shape[0]):
        odd = counted.min() if counted.min() < 0 else counted.max()
        raise InputError(
            f"the classes of loss {name!r} must be 0 to {shape[0] - 1}, but the target has {odd}"
        )
    return target.astype(np.int32)


def _values(name: str, loss: AnyLoss, target: Array, size: int, shape: Shape) -> Array:
    """Real values of the output's shape; those for one channel may come without that axis."""
    if not is_real(target.dtype):
        raise InputError(f"loss {name!r} takes real targets, but the target is {target.dtype}")
    short = [(size, *shape[1:])] if shape[0] == 1 else []
    _check_shape(name, "target", target, [(size, *shape), *short])
    return to_real(target.reshape(size, *shape), name=f"the target of loss {name!r}")


def _check_shape(name: str, what: str, array: Array, allowed: Sequence[Shape]) -> None:
    """Raise InputError unless an array has one of the shapes."""
    if tuple(array.shape) not in allowed:
        wanted = " or ".join(str(shape) for shape in dict.fromkeys(allowed))
        raise InputError(
            f"the {what} of loss {name!r} must have shape {wanted}, but has {array.shape}"
        )
