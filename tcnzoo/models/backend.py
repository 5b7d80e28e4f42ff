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
from tcnzoo.models.side_inputs import check_embeddings
from tcnzoo.specs import Shape, SideInput, Spec, StateItem
from tcnzoo.specs.hsmm import impossible
from tcnzoo.specs.params import Param

B = TypeVar("B")  # the class that all blocks of a backend have in common

GROUP = "tcnzoo.backends"

# So that an uninstalled checkout works; entry points may add to it.
BUILT_IN = {name: f"tcnzoo.backends.{name}" for name in ("numpy", "torch", "mlx", "keras")}
ALIASES = {"pytorch": "torch", "tensorflow": "keras", "tf": "keras"}


@dataclass(frozen=True)
class BackendInfo:
    """What `available_backends` says of one backend.

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
        embeddings: and masks that the model takes beside its signal.
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
    embeddings: tuple[SideInput, ...] = field(init=False)
    _checked: set[Shape] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        """Tabulate the spec once."""
        tables = self.spec.tables()
        self.params, self.state, self.obstacle = tables.params, tables.state, tables.blocker
        self.lasting = {name: item for name, item in self.state.items() if item.lasting}
        self.kept = {name: item.dtype(self.dtype) for name, item in self.state.items()}
        self.rank = self.spec.signal_rank
        self.finite = [part for part in tables.parts.values() if part.finite is not None]
        self.segments = any(part.segments for part in tables.parts.values())
        self.embeddings = self.spec.embedding_specs

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
            wanted = "(batch, channels, time), or (batch, channels) for a model of vectors"
            if self.rank == 4:
                wanted = "(batch, channels, devices, time)"
            raise InputError(f"the input must be {wanted}, but has shape {shape}")
        if 0 in shape:
            axis = shape.index(0)
            last = axis == len(shape) - 1 > 1
            lacks = "signals" if axis == 0 else "time steps" if last else "values"
            raise InputError(f"the input holds no {lacks}: its shape is {shape}")
        if shape[1:] not in self._checked:
            output_shape = self.spec.output_shape(shape[1:])
            check_fits(4 * shape[0] * math.prod(output_shape), "the output has")
            check_fits(4 * shape[0] * self._terms_per_step, "one output step of a part sees")
            self._checked.add(shape[1:])
        if embeddings or self.embeddings:
            check_embeddings(self.spec, shape, embeddings)

    @functools.cached_property
    def _terms_per_step(self) -> int:
        """The most of any part; see Spec.terms_per_step."""
        return max(
            part.terms_per_step()
            for _, part in self.spec.walk()
            if part.segments or not part.children()
        )

    def check_state(self, batch_size: int) -> None:
        """Raise InputError where the state of a stream is larger than the memory."""
        size = sum(math.prod(item.shape) for item in self.state.values())
        check_fits(4 * batch_size * size, "the state of the stream has")

    def check_values(self, x: Array) -> None:
        """Raise InputError for a value that the model, or a part of it, has no answer to."""
        if self.finite:
            self.spec.check_values(x)
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
        outputs = y.values() if isinstance(y, dict) else [y]
        if all(np.isfinite(output).all() for output in outputs if output.dtype.kind not in "iu"):
            return
        nan = any(np.isnan(array).any() for array in weights().values())
        raise impossible(steps, nan)


class Backend(Protocol):
    """The functions of a backend package. Arrays are neutral: (batch, channels, time), numpy.

    `embeddings` are all arrays beside the signal, masks too, as `Spec.embedding_specs` lists them.

    A backend may have more, and may leave it out:

        OPTIONS: tuple[str, ...]            see `check_options`
        dtype_of(model) -> str              see `dtype_of`
        stepper(model, plan) -> Stepper     see `stepper_of`
        activation_bytes(model, x) -> int   see `activation_bytes`
        device_peak(model) -> int | None    see `device_peak`
    """

    NAME: str
    DTYPES: tuple[str, ...]

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
    added = {point.name: point.value for point in entry_points(group=GROUP)}
    return {**BUILT_IN, **added, **BUILT_IN}  # in the built-in order, and the built-in ones win


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
    try:
        return backend_of(resolved)
    except ModuleNotFoundError:
        package = missing_package(resolved)
        if package is None:
            raise
        raise BackendMissing(
            f"backend {resolved!r} needs {package}, which is not installed; "
            f"run: pip install 'tcnzoo[{resolved}]'"
        ) from None


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
    """The module of a backend by its own name: imported once, then looked up, and fast."""
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
    """The float type that a native module computes in now, such as after `.double()` of torch.

    The modules of a backend without `dtype_of` keep the type that they were made in.
    """
    handle = handle_of(model)
    asked: Callable[[Any], str] | None = getattr(backend_of(handle.backend), "dtype_of", None)
    return handle.dtype if asked is None else asked(model)


def stepper_of(backend: Backend) -> Callable[[Any, Any], Any]:
    """What makes a model ready for training: (model, Plan) -> Stepper; see `tcnzoo.training`.

    Raises:
        InputError: the backend has no `stepper`, so it does not train.
    """
    stepper: Callable[[Any, Any], Any] | None = getattr(backend, "stepper", None)
    if stepper is None:
        raise InputError(f"backend {backend.NAME!r} does not train")
    return stepper


def activation_bytes(model: Any, x: Array) -> int | None:
    """Bytes that a forward pass in training keeps for the backward pass, parameters left out.

    None where the backend has no `activation_bytes`.
    """
    measure = getattr(backend_of(handle_of(model).backend), "activation_bytes", None)
    return None if measure is None else int(measure(model, x))


def device_peak(model: Any) -> int | None:
    """Most bytes that were taken on the device of a model since it was last asked.

    None where the backend has no `device_peak`, or the model runs in the memory of the process.
    """
    measure = getattr(backend_of(handle_of(model).backend), "device_peak", None)
    return None if measure is None else measure(model)


def check_dtype(backend: Backend, dtype: str, spec: Spec) -> None:
    """Raise SpecError unless the backend computes in `dtype`, which holds what `spec` reads."""
    if dtype not in backend.DTYPES:
        raise SpecError(
            f"backend {backend.NAME!r} computes in {', '.join(backend.DTYPES)}, not in {dtype!r}"
        )
    if dtype not in ("float32", "float64"):
        spec.check_dtype(dtype)


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


def check_options(backend: Any, options: Mapping[str, Any]) -> None:
    """Raise InputError for the first option of `create` that is not among OPTIONS of the backend.

    A backend without OPTIONS takes none.
    """
    known = getattr(backend, "OPTIONS", ())
    for name in options:
        if name not in known:
            near = suggestion(name, [*known, "seed", "weights", "device", "dtype"])
            raise InputError(f"backend {backend.NAME!r} has no option {name!r}{near}")
