"""How a backend steps a stream: with its own blocks, or with the compiled engine if it is faster.

A backend has one `Steps` for each model (`steps_of`) and calls its `start` from `init_state` and
its `step` from `step`; before either it looks whether the model's weights are still the same, and
calls `forget` where they may not be. What it gives is its own step as a function, a function that
reads the weights, and how it makes an array of its own.
"""

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from tcnzoo import engines
from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import SpecError
from tcnzoo.models.backend import Handle
from tcnzoo.models.streaming import State
from tcnzoo.specs.analysis import stream_name

if TYPE_CHECKING:
    from tcnzoo.streams.engine import Engine

# A backend's own step: (chunk, state, embeddings) -> (output, next state).
Plain = Callable[[Array, Mapping[str, Any], Sequence[Array]], tuple[Array, State]]

OPERATION = "stream step"
COMPILED = "compiled"
AVAILABLE = importlib.util.find_spec("numba") is not None

_STEPS: WeakKeyDictionary[Any, "Steps"] = WeakKeyDictionary()


class Steps:
    """The stream of one model of float32 on the CPU; any number of threads may step it."""

    def __init__(self, handle: Handle, package: str, make: Callable[[Array], Any]) -> None:
        """Know the model.

        Args:
            handle: of the model.
            package: name and version of the framework, such as `torch 2.13.0`.
            make: turns a numpy array into an array of the framework, for the entries of states.
        """
        # Not the handle itself, so that it is collected with its model.
        self._spec, self._table = handle.spec, handle.state
        self._package, self._make = package, make
        self._engine: Engine | None = None
        self._lowered = False
        self._current = False
        self._choices: dict[tuple[int, int], str] = {}
        self._asked: str | None = None

    def forget(self) -> None:
        """Read the weights again before the next step."""
        self._current = False

    def start(self, state: Mapping[str, Any], batch: int, weights: Callable[[], Weights]) -> State:
        """The first state of a stream; what will be compiled for it is compiled here.

        Args:
            state: as the framework gives it; returned as it is where no engine may run.
            batch: streams side by side.
            weights: reads the model's weights, neutral.
        """
        self._look_up()
        if engines.asked_for() not in (None, COMPILED):
            return state
        engine = self._engine_of(weights)
        return state if engine is None else engine.read(state, batch)

    def step(
        self,
        plain: Plain,
        weights: Callable[[], Weights],
        chunk: Array,
        state: Mapping[str, Any],
        embeddings: Sequence[Array],
    ) -> tuple[Array, State]:
        """One step of the stream, by the engine that is fastest for this batch and chunk length.

        Args:
            plain: the backend's own step.
            weights: reads the model's weights, neutral.
            chunk: (batch, channels, time), float32, in C order.
            state: that fits the model, of any form; it stays as it is.
            embeddings: those of the model, float32.
        """
        self._look_up()
        key = len(chunk), max(1, chunk.shape[2]).bit_length()
        name = self._choices.get(key)
        if name is None:
            name = self._chosen(plain, weights, chunk, state, embeddings)
            if chunk.shape[2]:  # an empty chunk measures nothing
                self._choices[key] = name
        if name != COMPILED:
            return plain(chunk, state, embeddings)
        return self._compiled(weights, chunk, state, embeddings)

    def _look_up(self) -> None:
        """Drop the choices where TCNZOO_ENGINE is another than before."""
        asked = os.environ.get(engines.ENGINE)
        if asked != self._asked:
            self._asked, self._choices = asked, {}

    def _compiled(
        self,
        weights: Callable[[], Weights],
        chunk: Array,
        state: Mapping[str, Any],
        embeddings: Sequence[Array],
    ) -> tuple[Array, State]:
        """One step of the engine, with the weights that the model has now."""
        engine = self._engine
        if engine is None or not self._current:
            engine = self._engine_of(weights)
            if engine is None:
                raise SpecError("this model has no compiled step; set TCNZOO_ENGINE=plain")
        return engine.step(chunk, state, embeddings)

    def _engine_of(self, weights: Callable[[], Weights]) -> "Engine | None":
        """The engine with the present weights; None for a model that it does not run."""
        if self._engine is None and not self._lowered:
            from tcnzoo.streams.engine import Engine  # which imports numba

            self._lowered = True
            try:
                self._engine = Engine(self._spec, weights(), self._table, self._make)
            except SpecError:
                return None
        elif self._engine is not None and not self._current:
            self._engine.renew(weights())
        self._current = True
        return self._engine

    def _chosen(
        self,
        plain: Plain,
        weights: Callable[[], Weights],
        chunk: Array,
        state: Mapping[str, Any],
        embeddings: Sequence[Array],
    ) -> str:
        """The name of the fastest engine."""
        asked = engines.asked_for()
        if asked not in (None, COMPILED) or self._engine_of(weights) is None:
            return engines.PLAIN
        if not chunk.shape[2]:
            return COMPILED

        def running(step: Plain) -> Callable[[], None]:
            """Go on from state to state, as a stream does."""
            own: list[State] = [state]

            def run() -> None:
                own[0] = step(chunk, own[0], embeddings)[1]

            return run

        def compiled(
            chunk: Array, state: Mapping[str, Any], embeddings: Sequence[Array]
        ) -> tuple[Array, State]:
            return self._compiled(weights, chunk, state, embeddings)

        batch, most = len(chunk), (1 << chunk.shape[2].bit_length()) - 1
        shape = f"{stream_name(self._spec)}, batch {batch}, up to {most} steps"
        choices = {engines.PLAIN: running(plain), COMPILED: running(compiled)}
        return engines.fastest(OPERATION, shape, choices, package=self._package)


def steps_of(model: Any, package: str, make: Callable[[Array], Any]) -> Steps | None:
    """How the stream of a model is stepped; None where the compiled engine cannot run at all.

    Args:
        model: of float32 on the CPU. A copy of it is another model: it may get other weights.
        package, make: see Steps.
    """
    if not AVAILABLE:
        return None
    steps = _STEPS.get(model)
    if steps is None:
        steps = _STEPS.setdefault(model, Steps(model.tcnzoo, package, make))
    return steps
