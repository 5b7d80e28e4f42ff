"""Channel adapters: from the electrodes of one montage to those of another."""

import math
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from tcnzoo.errors import InputError
from tcnzoo.specs import spherical_spline
from tcnzoo.specs.base import Positive, Shape, Spec
from tcnzoo.specs.dense import DenseSpec
from tcnzoo.specs.montages import Montage, Place, check_apart, names_of, places_of
from tcnzoo.specs.norm import LayerNormSpec
from tcnzoo.specs.params import Init, Param
from tcnzoo.specs.patch_embed import patches_in

if TYPE_CHECKING:
    from tcnzoo.arrays import Array

# Fields that belong to some methods only, with their values where none is given.
_OWN = {
    "alpha": ("spline",),
    "stiffness": ("spline",),
    "terms": ("spline",),
    "max_angle": ("spline",),
    "origin": ("spline", "attend", "perceiver"),
    "width": ("attend", "perceiver"),
    "heads": ("perceiver",),
    "patch": ("perceiver",),
}
# Degrees from the nearest source beyond which a spline is extrapolation.
FAR = 30.0
WIDTHS = {"attend": 64, "perceiver": 32}


class ChannelAdapterSpec(Spec):
    """From one montage to another, (batch, sources, time) -> (batch, targets, time).

    Methods:
        select: each target takes the source of its name, and is zero where there is none.
        pad: the sources, then zeros up to as many as there are targets.
        spline: spherical splines through the sources. A target farther than `max_angle` from all of
            them would be extrapolated; it is zero.
        attend: a learned mixture for each target, y_t = sum over s of softmax_s(q(u_t) . k(u_s) /
            sqrt(width)) x_s, of directions u from the middle of the head alone.
        perceiver: each electrode is a token for each patch of time, its dense map of the patch plus
            that of its direction; each target has a learned query, which attends to the tokens of
            the patch, and a dense map of what it takes, added to the query and normalised, is the
            target's patch.
    Parameters depend on the targets alone, so recordings of different montages train one model.

    Attributes:
        method: see above.
        source, target: a built-in montage (`tcnzoo.specs.montages.MONTAGES`), names of electrodes,
            or names with places in metres, x to the right, y to the nose, z up.
        alpha: of the spline: added to its diagonal, 0 goes through the sources.
        stiffness, terms: of the spline's kernel.
        max_angle: degrees; None extrapolates everywhere.
        origin: middle of the head, metres; None fits a sphere to the sources.
        width: of queries, keys and tokens; 64 for attend, 32 for perceiver.
        heads: of a perceiver's attention.
        patch: steps that a perceiver takes together.
        allow_zero_channels: let a norm whose statistics span electrodes follow, although targets
            that are zero change what it makes of all others.
    Source:
        spline: see `tcnzoo.specs.spherical_spline`. attend: the spatial attention of Defossez et
        al. 2023, arXiv:2208.12266, section 2.3, with dot products of directions. perceiver: one
        cross attention of Jaegle et al. 2021, arXiv:2103.03206.
    """

    kind: Literal["channel_adapter"] = "channel_adapter"
    method: Literal["select", "pad", "spline", "attend", "perceiver"]
    source: Montage
    target: Montage
    alpha: Annotated[float, Field(ge=0.0)] = 0.0
    stiffness: Annotated[int, Field(ge=2, le=10)] = 4
    terms: Annotated[int, Field(ge=1, le=500)] = 50
    max_angle: Annotated[float, Field(gt=0.0, le=180.0)] | None = FAR
    origin: Place | None = None
    width: Positive | None = None
    heads: Positive = 4
    patch: Positive = 25
    allow_zero_channels: bool = False

    @model_validator(mode="after")
    def _fields_go_together(self) -> Self:
        for name, methods in _OWN.items():
            default = type(self).model_fields[name].default
            if self.method not in methods and getattr(self, name) != default:
                raise ValueError(f"method {self.method!r} takes no {name}")
        sources, targets = names_of(self.source), names_of(self.target)
        if self.method in ("spline", "attend", "perceiver"):
            places_of(self.target)
            check_apart(places_of(self.source))
            if self.method == "spline" and len(sources) < spherical_spline.FEWEST:
                raise ValueError(
                    f"a spline needs {spherical_spline.FEWEST} sources or more, "
                    f"but there are {len(sources)}"
                )
        elif self.method == "pad" and len(targets) < len(sources):
            raise ValueError(
                f"method 'pad' adds channels, but {len(sources)} sources are more than "
                f"{len(targets)} targets"
            )
        if self.method == "perceiver" and self.inner % self.heads:
            raise ValueError(f"heads must divide the width {self.inner}, but is {self.heads}")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the electrodes that come."""
        return names_of(self.source)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the electrodes that are given."""
        return names_of(self.target)

    @property
    def inner(self) -> int:
        """Width of queries, keys and tokens."""
        return self.width or WIDTHS[self.method]

    @property
    def mixes(self) -> bool:
        """Whether the adapter is a fixed matrix."""
        return self.method in ("select", "pad", "spline")

    def source_directions(self) -> "Array":
        """Unit vectors of the sources, (sources, 3)."""
        return self._directions(self.source)

    def target_directions(self) -> "Array":
        """Unit vectors of the targets, (targets, 3)."""
        return self._directions(self.target)

    def _directions(self, montage: Montage) -> "Array":
        import numpy as np

        sources = list(places_of(self.source).values())
        origin = spherical_spline.sphere_of(sources) if self.origin is None else self.origin
        return spherical_spline.directions(list(places_of(montage).values()), np.array(origin))

    def covered(self) -> tuple[bool, ...]:
        """Of each target, whether the sources say something of it."""
        if self.method == "select":
            names = {name.upper() for name in self.sources}
            return tuple(name.upper() in names for name in self.targets)
        if self.method == "pad":
            return tuple(number < len(self.sources) for number in range(len(self.targets)))
        if self.method == "spline" and self.max_angle is not None:
            return tuple(bool(angle <= self.max_angle) for angle in self.angles())
        return (True,) * len(self.targets)

    def angles(self) -> "Array":
        """Degrees from each target to its nearest source, (targets,)."""
        return spherical_spline.angles(self.source_directions(), self.target_directions())

    def matrix(self) -> "Array":
        """What each source counts for each target of a fixed adapter, (targets, sources)."""
        import numpy as np

        count = len(self.targets), len(self.sources)
        if self.method == "pad":
            return np.eye(*count)
        if self.method == "select":
            columns = {name.upper(): column for column, name in enumerate(self.sources)}
            fixed = np.zeros(count)
            for row, name in enumerate(self.targets):
                if name.upper() in columns:
                    fixed[row, columns[name.upper()]] = 1.0
            return fixed
        spline = spherical_spline.weights(
            self.source_directions(), self.target_directions(),
            alpha=self.alpha, stiffness=self.stiffness, terms=self.terms,
        )  # fmt: skip
        return np.where(np.array(self.covered())[:, None], spline, 0.0)

    def mixture(self, arrays: Mapping[str, "Array"]) -> "Array":
        """What each source counts for each target, (targets, sources), float64; not of a perceiver.

        Args:
            arrays: parameters by name, of `attend` the dense maps `query` and `key`.
        """
        import numpy as np

        if self.mixes:
            return self.matrix()
        query, key = (
            units @ arrays[f"{name}.weight"].astype(np.float64).T + arrays[f"{name}.bias"]
            for name, units in (
                ("query", self.target_directions()),
                ("key", self.source_directions()),
            )
        )
        scores = query @ key.T / math.sqrt(self.inner)
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: Array = powers / powers.sum(axis=1, keepdims=True)
        return shares

    def noise_gain(self) -> "Array":
        """Deviation of each target for independent noise of deviation 1 in all sources, (targets,).

        The norm of its row of `matrix()`: 1 for a copy, 0 for a target that is not covered.
        """
        import numpy as np

        gain: Array = np.linalg.norm(self.matrix(), axis=1)
        return gain

    def zeros_after(self, zeros: int) -> int:
        """Targets that are zero whatever comes."""
        return 0 if self.allow_zero_channels else self.covered().count(False)

    @property
    def input_channels(self) -> int:
        """The sources."""
        return len(self.sources)

    def channels_before(self, channels: int) -> int:
        """The sources."""
        return len(self.sources)

    def channels_after(self, channels: int | None) -> int:
        """The targets."""
        return len(self.targets)

    def children(self) -> dict[str, Spec]:
        """Dense maps of a learned adapter, and the norm of a perceiver."""
        width = self.inner if self.method in WIDTHS else 0
        if self.method == "attend":
            return {name: DenseSpec(in_features=3, out_features=width) for name in ("query", "key")}
        if self.method == "perceiver":
            return {
                "value": DenseSpec(in_features=self.patch, out_features=width),
                "direction": DenseSpec(in_features=3, out_features=width),
                "key": DenseSpec(in_features=width, out_features=width),
                "content": DenseSpec(in_features=width, out_features=width),
                "norm": LayerNormSpec(channels=width),
                "output": DenseSpec(in_features=width, out_features=self.patch),
            }
        return {}

    def own_params(self) -> dict[str, Param]:
        """`queries` (targets, width) of a perceiver."""
        if self.method != "perceiver":
            return {}
        return {"queries": Param((len(self.targets), self.inner), "OI", Init("normal", 1.0))}

    def output_shape(self, input_shape: Shape) -> Shape:
        """(sources, ...) -> (targets, ...)."""
        self.check_channels(input_shape)
        if self.method == "perceiver":
            if len(input_shape) != 2:
                raise InputError(f"a perceiver takes (batch, sources, time), not {input_shape}")
            patches_in(self, self.patch, input_shape)
        return len(self.targets), *input_shape[1:]

    def macs_of(self, input_shape: Shape) -> int:
        """The mixture; of a perceiver its dense maps and products."""
        sources, targets, steps = len(self.sources), len(self.targets), 1
        for size in input_shape[1:]:
            steps *= size
        if self.method != "perceiver":
            return sources * targets * steps
        patches, width = steps // self.patch, self.inner
        tokens = sources * (self.patch + 2 * width) * width
        queries = targets * width * (2 * sources + self.patch)
        return patches * (tokens + queries)

    def remark(self) -> str | None:
        """Noise gain of the targets, and those that are not covered."""
        if not self.mixes:
            return None
        covered, gain = self.covered(), self.noise_gain()
        inside = [float(value) for value, there in zip(gain, covered, strict=True) if there]
        absent = [name for name, there in zip(self.targets, covered, strict=True) if not there]
        parts = []
        if inside:
            worst = self.targets[int(gain.argmax())]
            middle = statistics.median(inside)
            parts.append(f"noise gain {middle:.2f} (median) to {max(inside):.2f} ({worst})")
        if self.method == "spline" and self.max_angle is None:
            far = [n for n, a in zip(self.targets, self.angles(), strict=True) if a > FAR]
            if far:
                parts.append(
                    f"{len(far)} targets are extrapolated, farther than {FAR:g} degrees from every "
                    f"source: {', '.join(far)}"
                )
        if absent:
            parts.append(
                f"{len(absent)} of {len(covered)} targets are not covered, and zero: "
                f"{', '.join(absent)}"
            )
        return "; ".join(parts)

    def own_streaming_blocker(self) -> str | None:
        """A perceiver takes whole patches."""
        if self.method == "perceiver":
            return f"a perceiver takes patches of {self.patch} steps, so it cannot stream"
        return None
