"""What a compiled stream has seen, and its state: rings of rows that several states share.

A tape has a ring for every convolution and pool, with `room` rows more than it reaches back. A step
writes the rows of its chunk after those of the state that it continues, so the rows of that state
stay as they are. States are values: a step goes on in the same tape only if no step went on from
its state before, and if no state that is still alive would lose a row; else it copies the rows
that it needs to a tape of its own.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from weakref import ref

import numpy as np

from tcnzoo.arrays import Array, to_numpy
from tcnzoo.models.streaming import LazyState
from tcnzoo.specs import StateItem
from tcnzoo.streams.layout import Layout

# Rows that a ring has beyond its reach: of one stream, at least, and at most.
ROOM, LEAST_ROOM, MOST_ROOM = 256, 8, 2048


class Tape:
    """The rings of some streams side by side.

    Attributes:
        table: where each ring is in `logs`, (rows, batch, channels).
        room: rows of a ring beyond its reach.
        most_steps: of the input whose rows have room.
    """

    def __init__(self, layout: Layout, batch: int, steps: int) -> None:
        """Make room.

        Args:
            layout: of the model.
            batch: streams.
            steps: of the input in one chunk.
        """
        room = max(ROOM // batch, LEAST_ROOM)
        # For the rows of a chunk beside those of the chunk before, which its state keeps.
        while room < min(2 * layout.rows(steps), MOST_ROOM):
            room *= 2
        self.room = max(room, layout.rows(1))
        self.most_steps = math.floor(self.room / layout.rate) // layout.period * layout.period
        self._layout = layout
        self.table = layout.ring_table(self.room)
        floats = sum((ring.reach + self.room) * ring.channels for ring in layout.rings.values())
        # Rows are written before they are read.
        self.logs = np.empty(batch * floats, np.float32)
        self._batch = batch
        self._lock = threading.Lock()
        self._clock = 0
        self._alive: deque[tuple[int, ref[TapeState]]] = deque()

    def claim(self, clock: int, steps: int) -> bool:
        """Reserve rows for so many steps after `clock`; False if a state would lose rows."""
        with self._lock:
            if clock != self._clock or self._layout.rows(steps) > self.room:
                return False
            alive = self._alive
            while alive and alive[0][1]() is None:
                alive.popleft()
            if alive and self._layout.rows(clock + steps - alive[0][0]) > self.room:
                return False
            self._clock = clock + steps
            return True

    def begin(self, steps: int) -> int:
        """Reserve rows of a tape that no state has yet; return the clock after them."""
        self._clock += steps
        return self._clock

    def note(self, state: "TapeState") -> None:
        """Keep the rows of a state for as long as it lives."""
        self._alive.append((state.clock, ref(state)))

    def ring(self, index: int) -> Array:
        """One ring, (rows, batch, channels)."""
        start, _, rows, channels = self.table[index]
        begin, size = start * self._batch, rows * self._batch * channels
        return self.logs[begin : begin + size].reshape(rows, self._batch, channels)

    def window(self, index: int, position: int) -> Array:
        """The rows that a ring reaches back from a position, (reach, batch, channels), a copy."""
        reach = int(self.table[index, 1])
        return self.ring(index).take(range(position - reach, position), axis=0, mode="wrap")


class TapeState(LazyState):
    """The state of a compiled stream.

    Attributes:
        layout: of the model.
        numbers: position in each ring, then counters.
        cells: the entries that are no rings.
        clock: steps of the input that have gone onto the tape.
        finite: whether the lasting entries are.
        make: turns a numpy array into one of the backend.
    """

    def __init__(
        self,
        table: Mapping[str, StateItem],
        batch_size: int,
        layout: Layout,
        tape: Tape,
        numbers: Array,
        cells: Array,
        clock: int,
        finite: bool,
        make: Callable[[Array], Any],
    ) -> None:
        """Take over the arrays."""
        self.table, self.batch_size, self.layout, self.tape = table, batch_size, layout, tape
        self.numbers, self.cells, self.clock = numbers, cells, clock
        self.finite, self.make = finite, make
        tape.note(self)

    def __getitem__(self, name: str) -> Any:
        """The array of one entry, a copy."""
        layout, item = self.layout, self.table[name]
        if name in layout.rings:
            index = list(layout.rings).index(name)
            window = self.tape.window(index, int(self.numbers[index]))
            return self.make(np.ascontiguousarray(window.transpose(1, 2, 0)))
        if name in layout.counters:
            return self.make(np.asarray(self.numbers[layout.counters[name]], item.dtype("float32")))
        cell, batch = layout.cells[name], self.batch_size
        start, size = cell.start * batch, int(np.prod(cell.shape)) * batch
        values = self.cells[start : start + size].reshape(batch, *cell.shape)
        return self.make(np.array(values.swapaxes(1, -1) if cell.turned else values, order="C"))

    def __iter__(self) -> Iterator[str]:
        """Names, in the order of the table."""
        return iter(self.table)

    def __len__(self) -> int:
        """How many entries there are."""
        return len(self.table)

    def moved(self, steps: int) -> tuple[Tape, Array]:
        """A new tape for a chunk of so many steps, and the numbers that go with it."""
        tape = Tape(self.layout, self.batch_size, steps)
        numbers = self.numbers.copy()
        for index, ring in enumerate(self.layout.rings.values()):
            tape.ring(index)[: ring.reach] = self.tape.window(index, int(numbers[index]))
            numbers[index] = ring.reach
        return tape, numbers


def read(
    table: Mapping[str, StateItem],
    layout: Layout,
    state: Mapping[str, Any],
    batch: int,
    make: Callable[[Array], Any],
) -> TapeState:
    """A state of any backend, or of a file, on a tape of its own.

    Args:
        table: the spec's `state()`.
        layout: of the model.
        state: that fits the table; it stays as it is.
        batch: streams.
        make: see TapeState.
    """
    tape = Tape(layout, batch, 0)
    numbers = np.zeros(len(layout.rings) + len(layout.counters), np.int64)
    cells = np.zeros(layout.cell_floats * batch, np.float32)
    for index, ring in enumerate(layout.rings.values()):
        tape.ring(index)[: ring.reach] = to_numpy(state[ring.name]).transpose(2, 0, 1)
        numbers[index] = ring.reach
    for name, index in layout.counters.items():
        numbers[index] = int(state[name])
    for name, cell in layout.cells.items():
        values = to_numpy(state[name])
        size = values.size
        values = values.swapaxes(1, -1) if cell.turned else values
        cells[cell.start * batch : cell.start * batch + size] = values.ravel()
    return TapeState(table, batch, layout, tape, numbers, cells, 0, False, make)
