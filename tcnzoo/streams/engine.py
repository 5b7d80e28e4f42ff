"""The compiled step of one model's stream, on the CPU and in float32."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.specs import Spec, StateItem
from tcnzoo.streams import kernels
from tcnzoo.streams.layout import Layout, aligned
from tcnzoo.streams.lowering import lower
from tcnzoo.streams.tape import Tape, TapeState, read

# Rows that are computed at once, so that what lies between two operations stays in the cache.
ROWS = 256


class Scratch:
    """Room for one step that is running: signals, gathered taps and the steps of each signal."""

    def __init__(self, layout: Layout, capacity: int) -> None:
        """Make room for `capacity` rows of the input."""
        widest = int(layout.signals[:, kernels.STRIDE].max())
        most, each = layout.gathered
        self.capacity = capacity
        self.work = aligned(layout.unit * capacity + widest)
        self.taps = aligned(min(most, each * capacity) + kernels.WIDTH)
        self.steps = np.zeros(len(layout.signals), np.int64)


class Engine:
    """One model: its layout and weights. Any number of threads may step it."""

    def __init__(
        self,
        spec: Spec,
        weights: Mapping[str, Array],
        table: Mapping[str, StateItem],
        make: Callable[[Array], Any],
    ) -> None:
        """Lower the model.

        Args:
            spec: of the model.
            weights: neutral.
            table: the spec's `state()`, the very one that the model's handle has.
            make: turns a numpy array into one of the backend, for the entries of states.
        Raises:
            SpecError: the model has a part without a compiled form.
        """
        self.layout = Layout(lower(spec, weights))
        self._spec, self._table, self._make = spec, table, make
        output = self.layout.program.output
        self._output, self._channels = output.index, output.channels
        self._scratches: list[Scratch] = []

    def renew(self, weights: Mapping[str, Array]) -> None:
        """Take other weights; states stay valid."""
        self.layout.weights = Layout(lower(self._spec, weights)).weights

    def read(self, state: Mapping[str, Any], batch: int) -> TapeState:
        """A state of any form as one of this engine."""
        if isinstance(state, TapeState) and state.layout is self.layout:
            return state
        return read(self._table, self.layout, state, batch, self._make)

    def step(
        self, chunk: Array, state: Mapping[str, Any], embeddings: Sequence[Array]
    ) -> tuple[Array, TapeState]:
        """One step of a stream.

        Args:
            chunk: (batch, channels, time), float32.
            state: that fits the model, of any form; it stays as it is.
            embeddings: those of the model, float32.
        Returns:
            (output, state for the next chunk).
        """
        batch, _, length = chunk.shape
        layout, old = self.layout, self.read(state, batch)
        tape, numbers, clock = self._claimed(old, length)
        block = max(1, min(tape.most_steps, ROWS // batch))
        scratch = self._free_scratch(batch * layout.whole(max(1, min(block, length))))
        y = np.empty((batch, self._channels, self._steps(numbers, scratch, length)), np.float32)
        after = np.empty_like(old.cells) if layout.cell_floats else old.cells
        finite = kernels.run(
            (scratch.capacity, block, self._output, self._channels, layout.lasting),
            layout.table, layout.constants, layout.lists, layout.signals, layout.inputs,
            layout.weights, tape.table, tape.logs, numbers, old.cells, after,
            scratch.taps, scratch.work, scratch.steps,
            chunk if chunk.flags.aligned else chunk.copy(), _flat(embeddings), y,
        )  # fmt: skip
        self._scratches.append(scratch)
        return y, TapeState(
            self._table, batch, layout, tape, numbers, after, clock, finite, self._make
        )

    def _steps(self, numbers: Array, scratch: Scratch, length: int) -> int:
        """Steps of the output for a chunk of so many."""
        layout = self.layout
        if layout.even:
            return length
        return kernels.output_steps(
            layout.table, layout.signals, numbers, scratch.steps, length, self._output
        )

    def _claimed(self, old: TapeState, steps: int) -> tuple[Tape, Array, int]:
        """The tape to go on in, the numbers of the step, and the clock after it."""
        # The first sample of a stream may fill rows that are the old state's.
        fresh = any(old.numbers[index] == 0 for index in self.layout.fills)
        if not fresh and old.tape.claim(old.clock, steps):
            return old.tape, old.numbers.copy(), old.clock + steps
        tape, numbers = old.moved(steps)
        return tape, numbers, tape.begin(steps)

    def _free_scratch(self, capacity: int) -> Scratch:
        """One that no other thread uses: popping and appending are atomic."""
        try:
            scratch = self._scratches.pop()
        except IndexError:
            return Scratch(self.layout, max(1, capacity))
        return scratch if scratch.capacity >= capacity else Scratch(self.layout, capacity)


NOTHING = np.zeros(0, np.float32)


def _flat(embeddings: Sequence[Array]) -> Array:
    """All values of some arrays, one after the other."""
    return np.concatenate([array.ravel() for array in embeddings]) if embeddings else NOTHING
