"""Training steps of Keras models: compiled by TensorFlow or JAX, eager on torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tcnzoo.arrays import Array
from tcnzoo.models.backend import handle_of
from tcnzoo.models.outputs import Output
from tcnzoo.specs.params import Param, permute
from tcnzoo.training.clipping import accumulated, clipped
from tcnzoo.training.counts import Counts
from tcnzoo.training.freezing import frozen_parts
from tcnzoo.training.optimizers import updated
from tcnzoo.training.shifts import cancelled_biases
from tcnzoo.training.stepper import Batch, Plan, Stepper
from tcnzoo.training.targets import Targets

from .block import Tensor
from .engines import function, seed_masks, slopes
from .losses import total
from .model import SpecModel
from .replicas import replicas_for
from .run import beside_last, channels_last, neutral_outputs, tensor_of
from .weights import LAYOUT, stored_shape, to_neutral

PRECISIONS = ("32-true", "64-true")

Tensors = dict[str, Tensor]
# A signal and the embeddings that the model takes beside it.
Signals = tuple[Tensor, ...]

# Signals, targets and masks, seeds, and of several devices their shares of the examples, else None.
Part = tuple[Any, ...]


def stepper(model: SpecModel, plan: Plan) -> "KerasStepper":
    """Make a model ready for training; `model.fit` stays as it is.

    Raises:
        InputError: a model, a precision or a number of devices that cannot be trained with.
    """
    return KerasStepper(model, plan)


class KerasStepper(Stepper):
    """One Keras model in training.

    Which parameters move is fixed in the compiled functions, so that freezing makes new ones.
    """

    def __init__(self, model: SpecModel, plan: Plan) -> None:
        """Make room for the moments."""
        handle = handle_of(model)
        plan.check("keras", handle.dtype, PRECISIONS)
        self.model, self.plan = model, plan
        self.replicas = replicas_for(plan.devices, handle.device)
        self.targets = Targets(handle.spec, plan.losses, self._predict)
        self.names = tuple(self.targets.losses)
        self.counts = Counts(plan.optimizer, handle.params, plan.frozen)
        self.cancelled = cancelled_biases(handle.spec)
        self.weights = dict(model.root.named_variables())
        with model.on_device():
            self.moments = {
                slot: {name: self._zeros(handle.params[name]) for name in self.counts.counts}
                for slot in plan.optimizer.slots
            }
        self.generators = [
            part.seed_generator.state
            for _, part in model.root.walk()
            if hasattr(part, "seed_generator")
        ]
        self._freeze_parts(plan.frozen)
        self._compile()

    def _zeros(self, param: Param) -> Any:
        """A variable for a moment."""
        shape = stored_shape(param)
        return keras.Variable("zeros", shape=shape, dtype=self.plan.dtype, trainable=False)

    def _predict(self, x: Array, embeddings: Sequence[Array]) -> Output:
        """The model in evaluation mode, eagerly."""
        with self.model.on_device():
            signals = tuple(tensor_of(array, self.plan.dtype) for array in (x, *embeddings))
            return neutral_outputs(self._outputs(signals, training=False))

    def freeze(self, names: frozenset[str]) -> None:
        """Give these parameters no update from now on, and every other one its updates."""
        self.counts.freeze(names)
        self._freeze_parts(names)
        self._compile()

    def _freeze_parts(self, names: frozenset[str]) -> None:
        """Let the parts that are frozen whole run as in evaluation."""
        paths = frozen_parts(self.model.tcnzoo.spec, names)
        for path, part in self.model.root.walk():
            part.resting = path in paths

    def _compile(self) -> None:
        """Make functions for the parameters that move now."""
        moments = [moment for slot in self.moments.values() for moment in slot.values()]
        distinct = {id(v): v for v in (*self.model.variables, *self.generators)}
        self.variables = list(distinct.values())
        self._whole = function([*self.variables, *moments], self._step)
        self._gradients = function(self.variables, self._of_part)
        self._apply = function([*self.variables, *moments], self._move)
        self._evaluate = function(self.variables, self._compute)

    def step(self, batches: Sequence[Batch], rate: float, seed: int) -> Mapping[str, Any]:
        """Take one optimiser step over accumulated micro-batches."""
        with self.model.on_device():
            seed_masks(seed)
            seeds = self._seeds(seed, len(batches))
            parts = [self._part(batch, own) for batch, own in zip(batches, seeds, strict=True)]
            factors = ops.convert_to_tensor(self.counts.advance(rate, self.plan.dtype))
            if len(batches) == 1:
                values = self._whole(parts[0], factors)
            else:
                sizes = [len(batch["x"]) for batch in batches]
                values, gradients = accumulated(self._by_name, parts, sizes)
                values["gradient_norm"] = self._apply(list(gradients.values()), factors)
        return {name: values[name] for name in ("loss", *self.names, "gradient_norm")}

    def _part(self, batch: Batch, seeds: Array) -> Part:
        """A micro-batch as the compiled functions take it, dealt out where there are devices.

        One with fewer examples than devices is left to the first, which changes no number.
        """
        if self.replicas is None or len(batch["x"]) < self.plan.devices:
            return *self._inputs(batch), ops.convert_to_tensor(seeds[0]), None
        return self.replicas.spread(batch, self._inputs, seeds)

    def _by_name(self, part: Part) -> tuple[Tensors, Tensors]:
        """Losses and gradients of a micro-batch.

        Compiled functions take and return lists: a dictionary would come back in another order,
        and the norm be rounded otherwise.
        """
        values, gradients = self._gradients(part)
        return values, dict(zip(self.counts.moving, gradients, strict=True))

    def _step(self, part: Part, factors: Tensor) -> Tensors:
        """A step over one batch."""
        values, gradients = self._of_part(part)
        return {**values, "gradient_norm": self._move(gradients, factors)}

    def _of_part(self, part: Part) -> tuple[Tensors, list[Tensor]]:
        """Losses of a micro-batch in training mode, and the gradient of their sum."""
        if self.replicas is None or part[-1] is None:
            return self._differentiate(*part)
        return self.replicas.together(self.variables, self._differentiate, part)

    def _differentiate(
        self, signals: Signals, wanted: Tensors, seeds: Tensor, share: Tensor | None
    ) -> tuple[Tensors, list[Tensor]]:
        """What `_of_part` returns, on one device; times its share of the examples, if any."""
        for index, state in enumerate(self.generators):
            state.assign(ops.cast(seeds[index], state.dtype))
        driven = [name for name in self.counts.moving if name not in self.cancelled]
        moving = [self.weights[name] for name in driven]
        (loss, parts), gradients = slopes(
            self.variables,
            moving,
            lambda: self._losses(self._outputs(signals, training=True), wanted, share),
        )
        by_name = dict(zip(driven, gradients, strict=True))
        gradients = [
            by_name[name] if name in by_name else ops.zeros_like(self.weights[name].value)
            for name in self.counts.moving
        ]
        return {"loss": loss, **parts}, gradients

    def _outputs(self, signals: Signals, training: bool) -> Any:
        """The native outputs."""
        x, *beside = signals
        return self.model(channels_last(x), beside_last(self.model, beside), training=training)

    def _losses(
        self, outputs: Any, wanted: Tensors, share: Tensor | None = None
    ) -> tuple[Tensor, Tensors]:
        """The weighted sum of the losses, and each of them; all of them times `share`."""
        aims = {name: channels_last(tensor) for name, tensor in wanted.items()}
        loss, parts = total(self.targets.losses, outputs, aims)
        if share is None:
            return loss, parts
        share = ops.cast(share, loss.dtype)
        return loss * share, {name: value * share for name, value in parts.items()}

    def _move(self, gradients: list[Tensor], factors: Tensor) -> Tensor:
        """Clip the gradients and take the optimiser's step; returns their norm before that."""
        by_name = dict(zip(self.counts.moving, gradients, strict=True))
        norm, by_name = clipped(ops, by_name, self.plan.clip_norm, self.plan.clip_value)
        optimizer = self.plan.optimizer
        for name, gradient in by_name.items():
            moments = {slot: self.moments[slot][name] for slot in optimizer.slots}
            weight, row = self.weights[name], self.counts.groups[name]
            weight_after, moments_after = updated(
                optimizer,
                optimizer.decays(name),
                ops.convert_to_tensor(weight),
                gradient,
                {slot: ops.convert_to_tensor(moment) for slot, moment in moments.items()},
                tuple(factors[row, column] for column in range(3)),
                ops.sqrt,
            )
            weight.assign(weight_after)
            for slot, value in moments_after.items():
                moments[slot].assign(value)
        return norm

    def evaluate(self, batch: Batch) -> tuple[dict[str, float], Output]:
        """Losses and neutral outputs in evaluation mode."""
        with self.model.on_device():
            values, outputs = self._evaluate(*self._inputs(batch))
        return {name: float(values[name]) for name in ("loss", *self.names)}, neutral_outputs(
            outputs
        )

    def _compute(self, signals: Signals, wanted: Tensors) -> tuple[Tensors, Any]:
        """Losses and outputs of a batch in evaluation mode."""
        outputs = self._outputs(signals, training=False)
        loss, parts = self._losses(outputs, wanted)
        return {"loss": loss, **parts}, outputs

    def state(self) -> dict[str, Array]:
        """Optimiser state, by neutral names."""
        table = handle_of(self.model).params
        moments = {
            f"{slot}.{name}": to_neutral(self.moments[slot][name].value, table[name].axes)
            for slot, name in self.counts.slots()
        }
        return {**self.counts.state(), **moments}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Go on from a `state()` of this or another backend."""
        self.counts.load(state)
        table = handle_of(self.model).params
        for slot, moments in self.moments.items():
            for name, variable in moments.items():
                moment = state.get(f"{slot}.{name}", np.zeros(table[name].shape))
                axes = table[name].axes
                stored = permute(moment, axes, LAYOUT[axes])
                variable.assign(np.array(stored, dtype=self.plan.dtype, order="C"))
        self._compile()

    def _inputs(self, batch: Batch) -> tuple[Signals, Tensors]:
        """Signal and embeddings, and targets and masks, as tensors in neutral layout."""
        arrays = self.targets.of(batch)
        wanted = {name: ops.convert_to_tensor(array) for name, array in arrays.items()}
        signals = (self.targets.signal(batch), *self.targets.embeddings(batch))
        return tuple(tensor_of(array, self.plan.dtype) for array in signals), wanted

    def _seeds(self, seed: int, batches: int) -> Array:
        """States of all generators of dropout masks, for each micro-batch and device."""
        shape = (batches, self.plan.devices, len(self.generators), 2)
        drawn = np.random.SeedSequence(seed).generate_state(int(np.prod(shape))) >> 1
        return drawn.astype(np.int32).reshape(shape)
