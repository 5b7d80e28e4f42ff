"""Changes of the rate."""

from dataclasses import replace

from ..program.signal import TIME, Signal, Unfit
from .reader import NodeReader, handles


@handles("Resize", "Upsample")
def resize(reader: NodeReader) -> Signal:
    """A whole number of steps for each step."""
    x, node = reader.signal(), reader.node
    if "axes" in node.attributes or node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unfit("it names axes or keeps a ratio; one scale or size for each axis is read")
    scales = _scales(reader, x)
    time = x.roles.index(TIME) if TIME in x.roles else -1
    factor = round(scales[time])
    others = [scale for axis, scale in enumerate(scales) if axis != time]
    if time < 0 or any(scale != 1.0 for scale in others) or abs(scales[time] - factor) > 1e-6:
        raise Unfit(f"it changes axes {x.roles} by {scales}; time by a whole number is read")
    _check_places(reader, factor)
    if factor < 1:
        raise Unfit("it shortens the signal")
    mode = "nearest" if node.get("mode", "nearest") == "nearest" else "linear"
    layer = reader.add("upsample", x, factor=factor, mode=mode)
    return replace(x, layer=layer, length=(x.length or 0) * factor)


def _scales(reader: NodeReader, x: Signal) -> list[float]:
    """Factor of each axis."""
    index = 1 if reader.node.op == "Upsample" or reader.walk.graph.opset < 11 else 2
    given = reader.node.get("scales")
    const = reader.const(index) if given is None else None
    if const is not None and const.array.size:
        given = const.array.ravel()
    if given is None:
        sizes = reader.needed(3).array.ravel()
        given = [int(scale) / size for scale, size in zip(sizes, x.sizes, strict=False)]
    if len(given) != len(x.roles):
        raise Unfit(f"it has {len(given)} scales for {len(x.roles)} axes")
    return [float(scale) for scale in given]


def _check_places(reader: NodeReader, factor: int) -> None:
    """Refuse sampling points other than those of UpsampleSpec."""
    node, old = reader.node, reader.node.op == "Upsample" or reader.walk.graph.opset < 11
    mode = node.get("mode", "nearest")
    points = node.get("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    rounding = node.get("nearest_mode", "floor" if old else "round_prefer_floor")
    half = points in ("half_pixel", "pytorch_half_pixel")
    even = points == "asymmetric" and (rounding == "floor" or factor == 2)
    nearest = mode == "nearest" and ((half and rounding.startswith("round")) or even)
    if not nearest and not (mode == "linear" and half):
        raise Unfit(f"its mode {mode!r} with {points!r} and {rounding!r} is none that is read")
