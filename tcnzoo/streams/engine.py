"""The compiled step of one model's stream, on the CPU and in float32."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.specs import Spec, StateItem

from . import kernels
from .layout import Layout, aligned
from .lowering import lower
from .tape import Tape, TapeState, read

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
        steps = length * layout.rate
        tape, numbers, clock = self._claimed(old, steps)
        after = np.empty_like(old.cells)
        before, finite, pieces = old.cells, old.finite, []
        block = max(1, min(tape.room // layout.rate, ROWS // batch))
        scratch = self._free_scratch(batch * min(block, length))
        for start in range(0, length, block) if length else (0,):
            stop = min(start + block, length)
            self._enter(scratch, chunk, embeddings, batch, start, stop)
            finite = kernels.run(
                batch, scratch.capacity, layout.lasting, layout.table, layout.constants,
                layout.lists, layout.signals, layout.weights, tape.table, tape.logs, numbers,
                before, after, scratch.taps, scratch.work, scratch.steps,
            )  # fmt: skip
            before = after
            pieces.append(self._output(scratch, batch))
        self._scratches.append(scratch)
        y = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=2)
        return y, TapeState(
            self._table, batch, layout, tape, numbers, after, clock, finite, self._make
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

    def _enter(
        self,
        scratch: Scratch,
        chunk: Array,
        embeddings: Sequence[Array],
        batch: int,
        start: int,
        stop: int,
    ) -> None:
        """Write the inputs into their rows, for some steps of the chunk."""
        program = self.layout.program
        for signal, array in zip(program.inputs, (chunk, *embeddings), strict=True):
            vector = signal.index in program.vectors
            steps = 1 if vector else stop - start
            scratch.steps[signal.index] = steps
            rows = self._rows(scratch, signal.index, steps, batch)
            if vector:
                rows[0, :, : signal.channels] = array
            else:
                rows[:, :, : signal.channels] = array[:, :, start:stop].transpose(2, 0, 1)

    def _rows(self, scratch: Scratch, index: int, steps: int, batch: int) -> Array:
        """A signal, (steps, batch, at least its channels)."""
        unit, stride, shift, _ = self.layout.signals[index].tolist()
        start = unit * scratch.capacity + shift
        return scratch.work[start : start + steps * batch * stride].reshape(steps, batch, stride)

    def _output(self, scratch: Scratch, batch: int) -> Array:
        """The output, (batch, channels, steps), a copy."""
        output = self.layout.program.output
        root = int(self.layout.signals[output.index, kernels.ROOT])
        steps = int(scratch.steps[root])
        rows = self._rows(scratch, output.index, steps, batch)
        return np.array(rows[:, :, : output.channels].transpose(1, 2, 0), order="C")
