"""Training steps of MLX models: differentiated by value_and_grad, compiled by mx.compile."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_map, tree_unflatten

from tcnzoo.arrays import Array
from tcnzoo.models.backend import handle_of
from tcnzoo.models.outputs import Output
from tcnzoo.specs import MaskSpec
from tcnzoo.specs.params import permute
from tcnzoo.training.clipping import accumulated, clipped
from tcnzoo.training.counts import Counts
from tcnzoo.training.freezing import frozen_parts
from tcnzoo.training.optimizers import updated
from tcnzoo.training.shifts import cancelled_biases
from tcnzoo.training.stepper import Batch, Plan, SingleProcess, World
from tcnzoo.training.targets import Targets

from .block import Block
from .losses import total
from .norm import BatchNorm
from .processes import processes
from .run import neutral_outputs, predict
from .vector_quantizer import VectorQuantizer
from .weights import LAYOUT, neutral, stored_shape, to_mlx

PRECISIONS = {"32-true": mx.float32, "64-true": mx.float64, "bf16-mixed": mx.bfloat16}

Arrays = dict[str, mx.array]
# A signal and the embeddings that the model takes beside it.
Signals = tuple[mx.array, ...]


def stepper(model: Block[Any], plan: Plan) -> "MlxStepper":
    """Make a model ready for training, alone or, under mlx.launch, with other processes.

    Raises:
        InputError: a model, a precision or a strategy that cannot be trained, several devices, or
            processes that cannot join.
    """
    return MlxStepper(model, plan)


class MlxStepper:
    """One MLX model in training; between steps it is in evaluation mode.

    Running statistics, moments and the generator of dropout are state that the compiled functions
    capture; which parameters move is fixed in them, so that freezing compiles them again.
    """

    def __init__(self, model: Block[Any], plan: Plan) -> None:
        """Make room for the moments."""
        handle = handle_of(model)
        plan.check("mlx", handle.dtype, PRECISIONS, "mlx.launch")
        self.model, self.plan = model, plan
        self.type, self.kept_type = PRECISIONS[plan.precision], getattr(mx, plan.dtype)
        self.targets = Targets(handle.spec, plan.losses, lambda *inputs: predict(model, *inputs))
        self.counts = Counts(plan.optimizer, handle.params, plan.frozen)
        self.cancelled = cancelled_biases(handle.spec)
        self.moments: dict[str, Arrays] = {
            slot: {name: self._zeros(name) for name in self.counts.counts}
            for slot in plan.optimizer.slots
        }
        self.last: Any = []
        self.processes = processes()
        self.world: World = self.processes or SingleProcess()
        for _, part in model.walk():
            if isinstance(part, BatchNorm | VectorQuantizer):
                part._processes = self.processes
        self._freeze_parts(plan.frozen)
        self._compile()

    def _zeros(self, name: str) -> mx.array:
        return to_mlx(np.zeros(stored_shape(handle_of(self.model).params[name])), self.plan.dtype)

    def freeze(self, names: frozenset[str]) -> None:
        """Give these parameters no update from now on, and every other one its updates."""
        self.counts.freeze(names)
        self._freeze_parts(names)
        self._compile()

    def _freeze_parts(self, names: frozenset[str]) -> None:
        """Find the parts that run as in evaluation from now on."""
        paths = frozen_parts(self.model.spec, names)
        self.frozen_parts = [part for path, part in self.model.walk() if path in paths]
        self.codebooks = [
            part
            for path, part in self.model.walk()
            if isinstance(part, VectorQuantizer) and path not in paths
        ]
        for part in self.codebooks:
            part._started = False

    def _compile(self) -> None:
        """Compile for the parameters that move now."""
        moving: list[Any] = [self.model, mx.random.state]
        self._gradients = mx.compile(self._differentiate, inputs=moving, outputs=moving)
        kept: list[Any] = [self.model, self.moments]
        self._apply = mx.compile(self._move, inputs=kept, outputs=kept)
        self._evaluate = mx.compile(self._compute, inputs=[self.model])

    def step(self, batches: Sequence[Batch], rate: float, seed: int) -> Mapping[str, Any]:
        """Take one optimiser step over accumulated micro-batches."""
        inputs = [self._inputs(batch) for batch in batches]
        sizes = [len(batch["x"]) for batch in batches]
        with self._on_device():
            mx.random.seed(seed)
            if len(batches) == 1:
                values, slopes = self._run_micro_batch(inputs[0])
            else:
                values, slopes = accumulated(self._run_micro_batch, inputs, sizes, mx.eval)
            if self.processes is not None:
                (values, slopes), codebooks = self.processes.together(
                    sum(sizes), [values, slopes], self._running_codebooks()
                )
                self.model.update(tree_unflatten(list(codebooks.items())))
            factors = to_mlx(self.counts.advance(rate, self.plan.dtype), self.plan.dtype)
            values["gradient_norm"] = self._apply(slopes, factors)
            # The step before is waited for, so that at most two are under way.
            mx.eval(self.last)
            mx.async_eval(values, self.model, self.moments)  # type: ignore[no-untyped-call]
        self.last = list(values.values())
        return values

    def _running_codebooks(self) -> Arrays:
        """What steps move without a gradient, batch norms left out: restarts differ by process."""
        norms = {path for path, part in self.model.walk() if isinstance(part, BatchNorm)}
        table, arrays = handle_of(self.model).params, _flat(self.model)
        names = [name for name, param in table.items() if not param.trainable]
        return {name: arrays[name] for name in names if name.rpartition(".")[0] not in norms}

    def _run_micro_batch(self, inputs: tuple[Signals, Arrays]) -> tuple[Arrays, Arrays]:
        """Values and gradients of a micro-batch; compiled once all codebooks have started."""
        for part in self.codebooks:
            part._started = not part.unstarted
        if all(part._started for part in self.codebooks):
            self.codebooks = []
            return self._gradients(*inputs)
        return self._differentiate(*inputs)

    def _differentiate(self, signals: Signals, wanted: Arrays) -> tuple[Arrays, Arrays]:
        """Losses of a batch in training mode, and the gradient of their sum."""
        before = _flat(self.model)
        trained = {name: before[name] for name in self.counts.counts}
        weights = {name: before[name] for name in self.counts.moving if name not in self.cancelled}
        aims = {name: _last(array) for name, array in wanted.items()}

        def objective(weights: Arrays) -> tuple[mx.array, Arrays]:
            self._set({**trained, **weights}, self.type)
            return total(self.targets.losses, self._outputs(signals), aims)

        differentiated: Any = mx.value_and_grad(objective)
        if self.processes is not None:
            differentiated = self.processes.value_and_grad(objective, len(signals[0]))
        self.model.train()
        for part in self.frozen_parts:
            part._training = False
        try:
            (loss, parts), slopes = differentiated(weights)
        finally:
            self.model.eval()
            self._set(trained, self.kept_type)
        zeros = {name: mx.zeros_like(before[name]) for name in self.counts.moving}
        return {"loss": loss, **parts}, {**zeros, **slopes}

    def _outputs(self, signals: Signals) -> Any:
        """The native outputs, computed in the type of the plan's precision."""
        x, *beside = (signal.astype(self.type) for signal in signals)
        if not beside:
            return self.model(_last(x))
        embeddings = [
            array if isinstance(side, MaskSpec) else _last(array)
            for side, array in zip(self.model.spec.embedding_specs, beside, strict=True)
        ]
        return self.model(_last(x), embeddings=embeddings)

    def _set(self, weights: Mapping[str, mx.array], dtype: mx.Dtype) -> None:
        """Replace parameters by arrays, cast."""
        cast = [(name, array.astype(dtype)) for name, array in weights.items()]
        self.model.update(tree_unflatten(cast))

    def _move(self, slopes: Arrays, factors: mx.array) -> mx.array:
        """Clip the gradients and take the optimiser's step; returns their norm before that."""
        norm, slopes = clipped(mx, slopes, self.plan.clip_norm, self.plan.clip_value)
        weights, optimizer = _flat(self.model), self.plan.optimizer
        for name, slope in slopes.items():
            slots = {slot: self.moments[slot][name] for slot in optimizer.slots}
            rates = tuple(factors[self.counts.groups[name]])
            weights[name], slots = updated(
                optimizer, optimizer.decays(name), weights[name], slope, slots, rates, mx.sqrt
            )
            for slot, array in slots.items():
                self.moments[slot][name] = array
        self.model.update(tree_unflatten([(name, weights[name]) for name in slopes]))
        return norm

    def evaluate(self, batch: Batch) -> tuple[dict[str, float], Output]:
        """Losses and neutral outputs in evaluation mode."""
        with self._on_device(), _evaluating(self.model):
            values, outputs = self._evaluate(*self._inputs(batch))
            mx.eval(values, outputs)
        return {name: float(value) for name, value in values.items()}, neutral_outputs(outputs)

    def _compute(self, signals: Signals, wanted: Arrays) -> tuple[Arrays, Any]:
        """Losses and outputs of a batch in evaluation mode."""
        arrays = _flat(self.model)
        trained = {name: arrays[name] for name in self.counts.counts}
        try:
            self._set(trained, self.type)
            outputs = self._outputs(signals)
        finally:
            self._set(trained, self.kept_type)
        aims = {name: _last(array) for name, array in wanted.items()}
        loss, parts = total(self.targets.losses, outputs, aims)
        return {"loss": loss, **parts}, tree_map(_wide, outputs)

    def state(self) -> dict[str, Array]:
        """Optimiser state, by neutral names."""
        table = handle_of(self.model).params
        arrays = {slot: neutral(moments, table) for slot, moments in self.moments.items()}
        moments = {f"{slot}.{name}": arrays[slot][name] for slot, name in self.counts.slots()}
        return {**self.counts.state(), **moments}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Go on from a `state()` of this or another backend."""
        self.counts.load(state)
        table = handle_of(self.model).params
        for slot, moments in self.moments.items():
            for name in moments:
                moment = state.get(f"{slot}.{name}", np.zeros(table[name].shape))
                axes = table[name].axes
                moments[name] = to_mlx(permute(moment, axes, LAYOUT[axes]), self.plan.dtype)
        self._compile()

    def _inputs(self, batch: Batch) -> tuple[Signals, Arrays]:
        """Signal and embeddings, and targets and masks, as MLX arrays in neutral layout."""
        wanted = {name: mx.array(array) for name, array in self.targets.of(batch).items()}
        signals = (self.targets.signal(batch), *self.targets.embeddings(batch))
        return tuple(to_mlx(signal, self.plan.dtype) for signal in signals), wanted

    def _on_device(self) -> AbstractContextManager[Any]:
        """The model's device, where it has one of its own."""
        device = self.model._device
        return nullcontext() if device is None else mx.stream(getattr(mx, device))


@contextmanager
def _evaluating(model: Block[Any]) -> Iterator[None]:
    """Evaluation mode inside; afterwards each part of a model in training is as it was."""
    parts = [part for _, part in model.walk() if part.training] if model.training else []
    for part in parts:
        part._training = False
    try:
        yield
    finally:
        for part in parts:
            part._training = True


def _last(x: mx.array) -> mx.array:
    """(batch, channels, ..., time) to channels last; anything of two axes or less as it is."""
    return mx.moveaxis(x, 1, -1) if x.ndim > 2 else x


def _wide(y: mx.array) -> mx.array:
    """An output in float32, whatever it was computed in."""
    return y.astype(mx.float32) if y.dtype == mx.bfloat16 else y


def _flat(model: Block[Any]) -> Arrays:
    """Parameters by dotted name."""
    return dict(tree_flatten(model.parameters()))  # type: ignore[no-untyped-call]
