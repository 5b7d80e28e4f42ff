"""What a backend answers, how backends are found, and their aliases."""

import functools
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import BackendMissing, InputError, SpecError, suggestion
from tcnzoo.extras import missing_package
from tcnzoo.memory import check_fits
from tcnzoo.models.outputs import Output, Quantized
from tcnzoo.specs import HsmmSpec, Shape, Spec, StateItem, VqHdpHsmmSpec
from tcnzoo.specs.hsmm import impossible
from tcnzoo.specs.params import Param

B = TypeVar("B")  # the class that all blocks of a backend have in common

GROUP = "tcnzoo.backends"

# So that an uninstalled checkout works; entry points may add to it.
BUILT_IN = {name: f"tcnzoo.backends.{name}" for name in ("numpy", "torch", "mlx", "keras")}
ALIASES = {"pytorch": "torch", "tensorflow": "keras", "tf": "keras"}


@dataclass(frozen=True)
class BackendInfo:
    """What `available_backends` tells of one backend.

    Attributes:
        installed: whether its framework can be imported.
        versions: package -> version.
        devices: device names that `create` takes.
        dtypes: float types that `create` takes.
        note: how to install it, or what to know about it.
    """

    name: str
    installed: bool
    versions: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    note: str = ""


@dataclass
class Handle:
    """What tcnzoo keeps on a native module, as its attribute `tcnzoo`.

    Attributes:
        spec: what the module is.
        backend: name of its backend.
        dtype: float type of its parameters and outputs.
        device: where it runs, None for the framework's default.
        params, state: tables of the spec.
        lasting: the entries of `state` that never forget.
        kept: the type that each entry of `state` is kept in.
        obstacle: why the model cannot stream, or None.
        rank: axes of a signal, 3, or 4 for one with devices.
        finite: parts that have no answer to NaN and infinity.
        segments: whether a part cuts signals into segments, which may be impossible.
    """

    spec: Spec
    backend: str
    dtype: str = "float32"
    device: str | None = None
    params: dict[str, Param] = field(init=False)
    state: dict[str, StateItem] = field(init=False)
    lasting: dict[str, StateItem] = field(init=False)
    kept: dict[str, str] = field(init=False)
    obstacle: str | None = field(init=False)
    rank: int = field(init=False)
    finite: list[Spec] = field(init=False)
    segments: bool = field(init=False)
    _checked: set[Shape] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        """Tabulate the spec once."""
        self.params = self.spec.params()
        self.state = self.spec.state()
        self.lasting = {name: item for name, item in self.state.items() if item.lasting}
        self.kept = {name: item.dtype(self.dtype) for name, item in self.state.items()}
        self.obstacle = self.spec.streaming_blocker()
        self.rank = self.spec.signal_rank
        parts = [part for _, part in self.spec.walk()]
        self.finite = [part for part in parts if part.finite is not None]
        self.segments = any(isinstance(part, HsmmSpec) for part in parts)

    @property
    def wanted(self) -> str:
        """The axes of an input, in words."""
        if self.rank == 4:
            return "(batch, channels, devices, time)"
        return "(batch, channels, time), or (batch, channels) for a model of vectors"

    def check_streamable(self) -> None:
        """Raise InputError, with the reason, unless every part of the model can stream."""
        if self.obstacle is not None:
            raise InputError(f"this model cannot stream: {self.obstacle}")

    def check_input(self, x: Any, embeddings: Sequence[Any]) -> None:
        """Raise InputError unless x is a (batch, channels[, time]) array that the model takes.

        A model of signals with devices takes (batch, channels, devices, time).
        """
        shape = tuple(x.shape)
        if len(shape) != self.rank and (self.rank == 4 or len(shape) != 2):
            raise InputError(f"the input must be {self.wanted}, but has shape {shape}")
        check_something(shape)
        if shape[1:] not in self._checked:
            given = self.spec.output_shape(shape[1:])
            self._check_memory(shape, given)
            self._checked.add(shape[1:])
        check_embeddings(self.spec, shape, embeddings)

    @functools.cached_property
    def _reach(self) -> int:
        """Steps that one output step of a part sees, or durations that it weighs."""
        parts = [part for _, part in self.spec.walk()]
        steps = [part.field().size for part in parts if not part.children()]
        durations = [p.states * p.max_duration for p in parts if isinstance(p, HsmmSpec)]
        return max(*steps, *durations, 1, 1)

    def _check_memory(self, shape: Shape, given: Shape) -> None:
        """Raise InputError where an output, or the padding within the model, is too large."""
        check_fits(4 * shape[0] * math.prod(given), "the output has")
        check_fits(4 * shape[0] * self._reach, "one output step of a part sees")

    def check_state(self, batch_size: int) -> None:
        """Raise InputError where the state of a stream is larger than the memory."""
        size = sum(math.prod(item.shape) for item in self.state.values())
        check_fits(4 * batch_size * size, "the state of the stream has")

    def check_values(self, x: Array) -> None:
        """Raise InputError for a value that the model, or a part of it, has no answer to."""
        self.spec.check_values(x)
        if self.finite:
            Spec.check_values(self.finite[0], x)

    def check_answer(self, y: Output, steps: int | None, weights: Callable[[], Weights]) -> None:
        """Raise an error where a model of segments has found none.

        Args:
            y: its output.
            steps: of the signal; None for a stream.
            weights: reads those of the model.
        Raises:
            InputError: no segmentation is possible.
            WeightError: weights that are NaN.
        """
        if not self.segments:
            return
        found = y.values() if isinstance(y, dict) else [y]
        if all(np.isfinite(one).all() for one in found if one.dtype.kind not in "iu"):
            return
        nan = any(np.isnan(array).any() for array in weights().values())
        raise impossible(steps, nan)


def check_something(shape: Shape) -> None:
    """Raise InputError for an input without signals, channels or time steps."""
    if 0 in shape:
        axis = shape.index(0)
        lacks = "signals" if axis == 0 else "time steps" if axis == len(shape) - 1 > 1 else "values"
        raise InputError(f"the input holds no {lacks}: its shape is {shape}")


def check_embeddings(spec: Spec, shape: Shape, embeddings: Sequence[Any]) -> None:
    """Raise InputError unless there is one embedding of the right shape for each the spec names."""
    wanted = spec.embedding_specs
    if len(embeddings) != len(wanted):
        raise InputError(f"the model takes {len(wanted)} embeddings, but {len(embeddings)} came")
    for index, (embedding, one) in enumerate(zip(embeddings, wanted, strict=True)):
        expected = (shape[0], one.channels) + ((shape[-1],) if one.per_step else ())
        if tuple(embedding.shape) != expected:
            raise InputError(
                f"embedding {index} must have shape {expected}, but has {tuple(embedding.shape)}"
            )


class Backend(Protocol):
    """The functions of a backend package. Arrays are neutral: (batch, channels, time), numpy."""

    NAME: str
    DTYPES: tuple[str, ...]
    # Names of what `build` takes besides; a backend that has none may leave it out.
    OPTIONS: tuple[str, ...]
    # A backend whose modules change their float type says which it is: dtype_of(model) -> str.

    def info(self) -> BackendInfo:
        """Versions and devices."""

    def build(self, spec: Spec, dtype: str, device: str | None, **options: Any) -> Any:
        """Make the native module in evaluation mode with a Handle `tcnzoo`; weights undefined."""

    def get_weights(self, model: Any) -> Weights:
        """Read the weights in neutral layout, as copies."""

    def set_weights(self, model: Any, weights: Weights) -> None:
        """Write checked neutral weights into the module."""

    def predict(self, model: Any, x: Array, embeddings: Sequence[Array]) -> Output:
        """Run in evaluation mode."""

    def init_state(self, model: Any, state: dict[str, Array]) -> dict[str, Any]:
        """Turn a neutral state into this framework's arrays, still in neutral layout."""

    def step(
        self, model: Any, chunk: Array, state: Mapping[str, Any], embeddings: Sequence[Array]
    ) -> tuple[Array, Mapping[str, Any]]:
        """Run one streaming step; state arrays may be of any framework, in neutral layout."""

    def gradients(
        self,
        model: Any,
        x: Array,
        target: Any,
        loss: str | Mapping[str, str],
        embeddings: Sequence[Array],
        training: bool,
    ) -> tuple[float, Weights]:
        """Loss, and its gradients for every trained parameter and for `input`, neutral.

        Of a model with several outputs, `target` and `loss` are dictionaries by output.
        """

    def trace(self, model: Any, x: Array, embeddings: Sequence[Array]) -> dict[str, Array]:
        """Run in evaluation mode; return every part's output by dotted path, its own as ROOT."""

    def quantize(self, model: Any, x: Array, mask: Array | None) -> Quantized:
        """Run a quantiser in evaluation mode; numpy arrays, in neutral layout."""


@functools.cache
def backend_modules() -> dict[str, str]:
    """Module of each known backend: built-in ones united with those of installed packages."""
    found = {point.name: point.value for point in entry_points(group=GROUP)}
    return {**BUILT_IN, **found, **BUILT_IN}  # in the built-in order, and the built-in ones win


def canonical(name: str) -> str:
    """Resolve an alias; raise BackendMissing for a name that nobody provides."""
    lowered = str(name).lower()
    resolved = ALIASES.get(lowered, lowered)
    known = backend_modules()
    if resolved not in known:
        raise BackendMissing(f"unknown backend {name!r}{suggestion(lowered, [*known, *ALIASES])}")
    return resolved


def get_backend(name: str) -> Backend:
    """Import a backend by name or alias.

    Raises:
        BackendMissing: unknown name, or its framework is not installed (the sentence says what to
            install). An error inside an installed framework is passed on as it is.
    """
    resolved = canonical(name)
    package = missing_package(resolved)
    if package is not None:
        raise BackendMissing(
            f"backend {resolved!r} needs {package}, which is not installed; "
            f"run: pip install 'tcnzoo[{resolved}]'"
        )
    return backend_of(resolved)


def installed_backends() -> list[str]:
    """Names of the backends whose framework can be found, without importing it."""
    return [name for name in backend_modules() if missing_package(name) is None]


def available_backends() -> dict[str, BackendInfo]:
    """Every known backend: whether it is installed, its versions, devices and float types."""
    table = {}
    for name in backend_modules():
        package = missing_package(name)
        if package is None:
            table[name] = get_backend(name).info()
        else:
            note = f"pip install 'tcnzoo[{name}]'"
            table[name] = BackendInfo(name, installed=False, note=note)
    return table


@functools.cache
def backend_of(name: str) -> Backend:
    """The backend that made a model: it was imported then, so this only looks it up, and fast."""
    return cast(Backend, importlib.import_module(backend_modules()[name]))


def handle_of(model: Any) -> Handle:
    """The Handle of a native module.

    Raises:
        InputError: the object was not made by tcnzoo.
    """
    handle = getattr(model, "tcnzoo", None)
    if not isinstance(handle, Handle):
        raise InputError(
            f"expected a model made by tcnzoo.create or tcnzoo.load, but got {type(model).__name__}"
        )
    return handle


def dtype_of(model: Any) -> str:
    """The float type that a native module computes in now, such as after `.double()` of torch."""
    handle = handle_of(model)
    asked = getattr(backend_of(handle.backend), "dtype_of", None)
    return handle.dtype if asked is None else str(asked(model))


def check_dtype(backend: Backend, dtype: str) -> str:
    """Return `dtype` if the backend computes in it, else raise SpecError."""
    if dtype not in backend.DTYPES:
        raise SpecError(
            f"backend {backend.NAME!r} computes in {', '.join(backend.DTYPES)}, not in {dtype!r}"
        )
    return dtype


def check_device(name: str, device: str | None, known: Sequence[str]) -> None:
    """Raise InputError unless `device` is None or one of the devices that a backend runs on."""
    if device is not None and device not in known:
        names = f"{known[0]!r} only" if len(known) == 1 else " or ".join(map(repr, known))
        raise InputError(f"backend {name!r} runs on {names}, not on {device!r}")


def block_class(blocks: Mapping[str, type[B]], spec: Spec, backend: str) -> type[B]:
    """The class that a backend has registered for the kind of `spec`, or SpecError.

    Args:
        blocks: kind -> class.
        spec: of the block.
        backend: its name, for the error message.
    """
    if spec.kind not in blocks:
        raise SpecError(f"backend {backend!r} has no block of kind {spec.kind!r}")
    return blocks[spec.kind]


# 16-bit types hold the whole numbers from 0 to these.
WHOLE = {"bfloat16": 2**8, "float16": 2**11}


def check_codes(spec: Spec, dtype: str) -> None:
    """Raise SpecError if a model would read numbers of codes that its float type does not hold."""
    made = [path for path, part in spec.walk() if isinstance(part, VqHdpHsmmSpec)]
    for path, part in spec.walk():
        if not isinstance(part, HsmmSpec) or any(path.startswith(one) for one in made):
            continue  # codes that a quantiser makes are integers
        if part.emission != "categorical" or part.encoding != "index":
            continue
        last = (part.codes or 1) - 1
        if last > WHOLE.get(dtype, last):
            raise SpecError(
                f"{path or part.kind}: codes up to {last} come as numbers in one channel, and "
                f"{dtype!r} holds whole numbers up to {WHOLE[dtype]} only; use float32, or "
                "encoding 'one_hot'"
            )


def check_options(backend: Backend, options: Mapping[str, Any]) -> None:
    """Raise InputError for the first option of `create` that the backend lacks."""
    known = getattr(backend, "OPTIONS", ())
    for name in options:
        if name not in known:
            near = suggestion(name, [*known, "seed", "weights", "device", "dtype"])
            raise InputError(f"backend {backend.NAME!r} has no option {name!r}{near}")
