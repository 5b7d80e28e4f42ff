"""What a net of braindecode is here: layers in order, and where each of their tensors stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tcnzoo.errors import SpecError
from tcnzoo.specs import BatchNormSpec, Spec
from tcnzoo.zoo.parse import parse_spec

from .limits import Limit

# The number of training steps, which torch counts in a batch norm.
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Source:
    """Where a tensor stands in a state_dict.

    Attributes:
        name: there.
        view: how it lies there, one of `views.VIEWS`.
        limit: the limit that the net sets on its norm in every forward pass.
        limited_by: the argument that says the limit.
    """

    name: str
    view: str = "same"
    limit: Limit | None = None
    limited_by: str = ""


@dataclass
class Plan:
    """A net in the making.

    Attributes:
        layers: name -> fields of a spec.
        sources: neutral name of a tensor -> where it stands.
        counters: names of the counters of batch norms.
    """

    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    counters: list[str] = field(default_factory=list)

    def add(
        self, name: str, fields: dict[str, Any], stem: str = "", view: str = "same", **limit: Any
    ) -> None:
        """Append a layer.

        Args:
            name: of the layer.
            fields: of its spec.
            stem: what stands before the names of its tensors in a state_dict.
            view: of its weight.
            limit: `limit` and `limited_by` of its weight.
        """
        self.layers[name] = fields
        layer = parse_spec(fields)
        for own in layer.params():
            tensor = f"{stem}.{own}"
            if own == "weight" and limit:
                tensor = f"{stem}.parametrizations.weight.original"
            source = Source(tensor, view, **limit) if own == "weight" else Source(tensor)
            self.sources[f"{name}.{own}"] = source
        if isinstance(layer, BatchNormSpec):
            self.counters.append(f"{stem}.{COUNTER}")

    def nest(self, name: str, inner: "Plan", fields: dict[str, Any]) -> None:
        """Append a composition of layers that have been planned already."""
        self.layers[name] = fields
        self.sources |= {f"{name}.{own}": source for own, source in inner.sources.items()}
        self.counters += inner.counters

    def chain(self) -> dict[str, Any]:
        """The layers, one after the other."""
        return {"kind": "sequential", "layers": self.layers}

    def spec(self) -> Spec:
        """The model."""
        return parse_spec(self.chain())


def activation(name: str) -> dict[str, Any]:
    """An activation."""
    return {"kind": "activation", "name": name}


def batch_norm(channels: int, **constants: float) -> dict[str, Any]:
    """A batch norm."""
    return {"kind": "batch_norm", "channels": channels, **constants}


def dropout(rate: float) -> dict[str, Any]:
    """A dropout."""
    return {"kind": "dropout", "rate": rate}


def conv1d(inside: int, outside: int, kernel_size: int, **options: Any) -> dict[str, Any]:
    """A convolution without padding."""
    sizes = {"in_channels": inside, "out_channels": outside, "kernel_size": kernel_size}
    return {"kind": "conv1d", **sizes, "padding": "valid", **options}


def conv2d(inside: int, outside: int, kernel: tuple[int, int], **options: Any) -> dict[str, Any]:
    """A convolution over electrodes and time, without padding unless it is asked for."""
    sizes = {"in_channels": inside, "out_channels": outside, "kernel_size": kernel}
    return {"kind": "conv2d", **sizes, "padding": "valid", **options}


def pool(mode: str, size: int, stride: int | None = None) -> dict[str, Any]:
    """A pool over time; braindecode calls the average `mean`."""
    name = {"mean": "average", "max": "max"}.get(mode)
    if name is None:
        raise SpecError(f"a pool of braindecode is 'mean' or 'max', but {mode!r} came")
    return {"kind": "window_pool", "mode": name, "size": size, "stride": stride or size}


def pad(steps: int) -> dict[str, Any]:
    """Zeros on both sides."""
    return {"kind": "pad", "left": steps, "right": steps}


def split(electrodes: int) -> dict[str, Any]:
    """(batch, electrodes, time) -> (batch, 1, electrodes, time).

    Raises:
        SpecError: a single electrode.
    """
    if electrodes < 2:
        raise SpecError(
            f"n_chans must be at least 2, because the net's spatial convolution spans the "
            f"electrodes, but is {electrodes}"
        )
    return {"kind": "device_split", "devices": electrodes}


JOIN: Mapping[str, Any] = {"kind": "device_pool", "mode": "concat", "devices": 1}


def steps_after(length: int, *layers: dict[str, Any]) -> int:
    """Time steps of a signal of one channel after windows, or 0 where it is too short for them."""
    for layer in layers:
        if layer["kind"] == "pad":
            length += layer["left"] + layer["right"]
        if layer["kind"] == "pad" or layer.get("padding") == "same":
            continue
        size = layer.get("size") or layer["kernel_size"]
        taps = size[1] if isinstance(size, tuple) else size
        length = (length - taps) // int(layer.get("stride") or 1) + 1
    return max(0, length)
