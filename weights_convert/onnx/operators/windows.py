"""Windows over the axes behind the channels: of convolutions and of pools."""

from dataclasses import dataclass

from ..program.signal import TIME, UNIT, Signal, Unfit
from .reader import NodeReader

Pads = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A window over one axis.

    Attributes:
        size, stride, dilation: as in Conv1dSpec.
        pads: steps added on the left and right; None for those of `same_upper`.
    """

    size: int
    stride: int
    dilation: int
    pads: Pads | None

    @property
    def reach(self) -> int:
        """Steps between the first and the last that it sees."""
        return (self.size - 1) * self.dilation

    def outputs(self, length: int) -> int:
        """Windows over so many steps."""
        if self.pads is None:
            return -(-length // self.stride)
        return (length + sum(self.pads) - self.reach - 1) // self.stride + 1


def windows(reader: NodeReader, x: Signal, sizes: tuple[int, ...]) -> list[Window]:
    """One window for each axis of a signal from the third on.

    Args:
        reader: a node with ONNX's attributes of windows.
        x: the signal.
        sizes: of the windows.
    """
    node, rank = reader.node, len(sizes)
    if rank != len(x.roles) - 2:
        raise Unfit(f"it takes {rank + 2} axes, but {len(x.roles)} come")
    strides, dilations = node.get("strides", [1] * rank), node.get("dilations", [1] * rank)
    pads, auto = node.get("pads", [0] * (2 * rank)), node.get("auto_pad", "NOTSET")
    if (len(strides), len(dilations), len(pads)) != (rank, rank, 2 * rank):
        raise Unfit(f"its strides, dilations and pads are not those of {rank} axes")
    if min(*strides, *dilations, *sizes) < 1:
        raise Unfit("its sizes, strides and dilations are not all positive")
    if min(pads) < 0:
        raise Unfit(f"its pads are {list(pads)}, where none may be negative")
    if auto != "NOTSET" and any(pads):
        raise Unfit(f"its auto_pad is {auto!r} beside pads of its own, {list(pads)}")
    each_axis = []
    for axis in range(rank):
        window = Window(
            sizes[axis], strides[axis], dilations[axis], (pads[axis], pads[axis + rank])
        )
        each_axis.append(_auto(reader, window, auto, x, 2 + axis))
    return each_axis


def _auto(reader: NodeReader, window: Window, auto: str, x: Signal, axis: int) -> Window:
    """A window with the padding that `auto_pad` asks for."""
    role, length = x.roles[axis], x.size(x.roles[axis])
    reach, known = window.reach, reader.walk.fixed or role != TIME
    if auto in ("NOTSET", "VALID"):
        pads: Pads | None = window.pads if auto == "NOTSET" else (0, 0)
    elif auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise Unfit(f"its auto_pad is {auto!r}")
    elif auto == "SAME_UPPER" and role == TIME and window.stride > 1:
        pads = None
    elif window.stride == 1 or known:
        outputs = -(-length // window.stride)
        total = max(0, (outputs - 1) * window.stride + reach + 1 - length)
        less = total // 2
        pads = (less, total - less) if auto == "SAME_UPPER" else (total - less, less)
    else:
        raise Unfit(
            "its auto_pad 'SAME_LOWER' with a stride depends on the length of the signal; give it: "
            "--set length=STEPS"
        )
    return Window(window.size, window.stride, window.dilation, pads)


def tap(window: Window) -> int:
    """The only place of a window over an axis of size 1 that falls on it.

    Raises:
        Unfit: there is none, or the axis does not stay of size 1.
    """
    left = (window.pads or (0, 0))[0]
    position, rest = divmod(left, window.dilation)
    if window.outputs(1) != 1 or rest or not 0 <= position < window.size:
        raise Unfit("it changes an axis of size 1 beside that of time: two axes of space")
    return position


def over_time(x: Signal, each_axis: list[Window]) -> tuple[int, Window]:
    """Axis (from the third on) and window of time, where all others are of size 1.

    Raises:
        Unfit: no time, or two axes of space.
    """
    others = [role for role in x.roles[2:] if role != TIME]
    if x.roles[2:].count(TIME) != 1 or any(role != UNIT for role in others):
        raise Unfit(f"it moves over axes {x.roles[2:]}, where one of time is expected")
    axis = x.roles[2:].index(TIME)
    return axis, each_axis[axis]
