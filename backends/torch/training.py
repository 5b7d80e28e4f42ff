"""Training steps of torch models: Lightning Fabric for device, precision and processes."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.models.backend import handle_of
from tcnzoo.models.outputs import Output, named_outputs
from tcnzoo.training.counts import Counts
from tcnzoo.training.freezing import frozen_parts
from tcnzoo.training.optimizers import AdamW, Sgd
from tcnzoo.training.shifts import cancelled_biases
from tcnzoo.training.stepper import Batch, Plan
from tcnzoo.training.targets import Targets

from . import losses
from .block import Block
from .norm import BatchNorm
from .processes import Processes, fabric_for
from .run import full_precision, predict
from .weights import laid_out_as, to_torch, whole

# Of the neutral names of moments, those that torch.optim has others for.
SLOTS = {"momentum": "momentum_buffer"}
PRECISIONS = ("32-true", "64-true", "16-mixed", "bf16-mixed")


def stepper(model: Block[Any], plan: Plan) -> "TorchStepper":
    """Make a model ready for training, by itself or, under torchrun, with other processes.

    Raises:
        BackendMissing: lightning-fabric is not installed.
        InputError: a model or a precision that cannot be trained, or several devices.
    """
    return TorchStepper(model, plan)


class TorchStepper:
    """One torch model in training."""

    def __init__(self, model: Block[Any], plan: Plan) -> None:
        """Move the model to its device, and make its optimiser."""
        handle = handle_of(model)
        plan.check("torch", handle.dtype, PRECISIONS, "torchrun", ("ddp", "fsdp"))
        self.model, self.plan = model, plan
        self.type = getattr(torch, plan.dtype)
        self.targets = Targets(handle.spec, plan.losses, lambda x, rows: predict(model, x, rows))
        self.fabric = fabric_for(model, plan)
        self.world = Processes(self.fabric, model, plan)
        self.counts = Counts(plan.optimizer, handle.params, plan.frozen)
        self.cancelled = cancelled_biases(handle.spec)
        self.since = 0
        named = dict(model.named_parameters())
        self.named = {name: named[name] for name in self.counts.counts}
        for part in model.modules():
            if isinstance(part, BatchNorm):
                part.synchronised = self.world.size > 1
        self.freeze(plan.frozen)
        self.optimizer = _optimizer(plan, self.named)
        self.steps = self.fabric.setup_optimizers(self.optimizer)

    def freeze(self, names: frozenset[str]) -> None:
        """Give these parameters no update from now on, and every other one its updates."""
        self.model.eval()
        self._count_steps()
        self.counts.freeze(names)
        paths = frozen_parts(self.model.spec, names)
        self.frozen_parts = [part for path, part in self.model.walk() if path in paths]
        for name, parameter in self.named.items():
            parameter.requires_grad_(name not in names)
            parameter.grad = None
        self.moved = [self.named[name] for name in self.counts.moving]
        # Wrapped again, because the gradients to be summed over processes are others now.
        self.module = self.fabric.setup_module(self.model)

    def step(self, batches: Sequence[Batch], rate: float, seed: int) -> Mapping[str, Any]:
        """Take one optimiser step over accumulated micro-batches."""
        torch.manual_seed(seed)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if not self.model.training:
            self.model.train()
            for part in self.frozen_parts:
                part.eval()
        self.optimizer.zero_grad()
        with self._precise():
            values = self._gradients(batches)
            values["gradient_norm"] = self._clip()
            self.steps.step()
        self.since += 1
        return values

    def _gradients(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Gradients of all micro-batches into the parameters; loss and terms."""
        shares = self._shares([len(batch["x"]) for batch in batches])
        values: dict[str, Tensor] = {}
        for index, (batch, share) in enumerate(zip(batches, shares, strict=True)):
            wanted = self._wanted(batch)
            # Gradients that wait are whole: those of a sharded model are shared out at once.
            waits = index < len(batches) - 1 and self.world.size > 1 and not self.world.sharded
            with self.fabric.no_backward_sync(self.module, enabled=waits):
                loss, terms = losses.total(
                    self.targets.losses, self.module(*self._inputs(batch)), wanted
                )
                # Gradients of processes are averaged, so that each counts size times as much.
                scale = share * self.world.size
                self.fabric.backward(loss if scale == 1.0 else loss * scale)
            for name, value in {"loss": loss, **terms}.items():
                value = value.detach() if share == 1.0 else value.detach() * share
                values[name] = values[name] + value if name in values else value
        for name, parameter in zip(self.counts.moving, self.moved, strict=True):
            # A part that no loss sees has a gradient of zero, as elsewhere.
            if parameter.grad is None or name in self.cancelled:
                parameter.grad = torch.zeros_like(parameter)
        if self.world.size > 1:
            total = self.world.sum_of(torch.stack(list(values.values())))
            values = dict(zip(values, total, strict=True))
        return values

    def _shares(self, sizes: list[int]) -> list[float]:
        """The part of all examples of a step, in all processes, that each micro-batch holds."""
        total = float(sum(sizes))
        if self.world.size > 1:
            total = float(self.world.sum_of(torch.tensor(total, device=self.fabric.device)))
        return [size / total for size in sizes]

    def _clip(self) -> Tensor:
        """Limit the gradients; their norm before that."""
        self.fabric.strategy.precision.unscale_gradients(self.optimizer)
        gradients = [parameter.grad for parameter in self.moved if parameter.grad is not None]
        norm = left = whole(torch.nn.utils.get_total_norm(gradients))
        if self.plan.clip_value is not None:
            torch.nn.utils.clip_grad_value_(self.moved, self.plan.clip_value)
            left = whole(torch.nn.utils.get_total_norm(gradients))
        if self.plan.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.moved, self.plan.clip_norm, left)
        return norm

    def evaluate(self, batch: Batch) -> tuple[dict[str, float], Output]:
        """Losses and neutral outputs in evaluation mode."""
        if self.model.training:
            self.model.eval()
        with torch.inference_mode(), self._precise(), self.fabric.autocast():
            outputs = self.model(*self._inputs(batch))
            loss, terms = losses.total(self.targets.losses, outputs, self._wanted(batch))
        values = {name: float(value) for name, value in {"loss": loss, **terms}.items()}
        return values, _neutral(outputs)

    def state(self) -> dict[str, Array]:
        """Optimiser state, by neutral names."""
        self._count_steps()
        slots = self.optimizer.state
        moments = {
            f"{slot}.{name}": slots[self.named[name]][SLOTS.get(slot, slot)]
            for slot, name in self.counts.slots()
        }
        return self.counts.state() | {
            name: to_numpy(whole(moment)).copy() for name, moment in moments.items()
        }

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Go on from a `state()` of this or another backend."""
        self.counts.load(state)
        self.since = 0
        self.optimizer.state.clear()
        for slot, name in self.counts.slots():
            parameter = self.named[name]
            slots = self.optimizer.state[parameter]
            moment = to_torch(state[f"{slot}.{name}"]).to(parameter.device, parameter.dtype)
            slots[SLOTS.get(slot, slot)] = laid_out_as(moment, parameter)
            if not isinstance(self.plan.optimizer, Sgd):
                slots["step"] = torch.tensor(float(self.counts.counts[name]))

    def _count_steps(self) -> None:
        """Count the steps since the last time for those that were moved by them."""
        for name in self.counts.moving:
            self.counts.counts[name] += self.since
        self.since = 0

    def _inputs(self, batch: Batch) -> tuple[Any, ...]:
        """What the model is called with: the signal, and its embeddings where it takes some."""
        rows = [self._tensor(row) for row in self.targets.embeddings(batch)]
        signal = self._tensor(self.targets.signal(batch))
        return (signal, None, rows) if rows else (signal,)

    def _tensor(self, array: Array) -> Tensor:
        """A real array on the model's device."""
        return to_torch(array).to(device=self.fabric.device, dtype=self.type)

    def _wanted(self, batch: Batch) -> dict[str, Tensor]:
        """Targets and masks on the model's device."""
        arrays = self.targets.of(batch)
        return {
            name: torch.from_numpy(array).to(self.fabric.device) for name, array in arrays.items()
        }

    @contextlib.contextmanager
    def _precise(self) -> Iterator[None]:
        """Keep TF32 off where float32 was asked for."""
        precise = self.plan.precision.endswith("-true")
        with full_precision(self.model) if precise else contextlib.nullcontext():
            yield


def _neutral(outputs: Any) -> Output:
    """Outputs as numpy, in float32 at least."""
    outputs = named_outputs(outputs)
    if isinstance(outputs, Mapping):
        return {name: _array(output) for name, output in outputs.items()}
    return _array(outputs)


def _array(tensor: Tensor) -> Array:
    """A tensor as numpy, in float32 at least."""
    return to_numpy(tensor.to(torch.promote_types(tensor.dtype, torch.float32)))


def _optimizer(plan: Plan, named: Mapping[str, Tensor]) -> torch.optim.Optimizer:
    """The optimiser of torch that a plan names; parameters that do not decay are a group."""
    optimizer = plan.optimizer
    decay = [tensor for name, tensor in named.items() if optimizer.decays(name)]
    others = [tensor for name, tensor in named.items() if not optimizer.decays(name)]
    groups: list[dict[str, Any]] = [
        {"params": some, "weight_decay": weight_decay}
        for some, weight_decay in ((decay, optimizer.weight_decay), (others, 0.0))
        if some
    ]
    if isinstance(optimizer, Sgd):
        return torch.optim.SGD(
            groups, optimizer.lr, optimizer.momentum, nesterov=optimizer.nesterov
        )
    kind = torch.optim.AdamW if isinstance(optimizer, AdamW) else torch.optim.Adam
    return kind(groups, optimizer.lr, optimizer.betas, optimizer.eps)
