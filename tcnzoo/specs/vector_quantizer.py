"""Vector quantisers: the nearest code of a codebook, and residual levels of them."""

import math
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tcnzoo.specs.base import Depth, Positive, Rate, Shape, Spec, Whole
from tcnzoo.specs.params import Init, Initializer, Param

Weight = Annotated[float, Field(ge=0.0)]


class VectorQuantizerSpec(Spec):
    """The nearest code of a codebook at each step, argmin(|c|^2 / 2 - x.c), lowest index on ties.

    Codes and values are centred by the mean of the codebook first, so that a common offset costs no
    digits. A training step assigns and quantises with the codebook as it is, and only then moves
    it: exponential averages, then restart of dead codes. Evaluation moves nothing.

    Attributes:
        channels: width of a code.
        codes: how many, K.
        gradient: to the input: `straight_through` hands it on, `rotation` turns and scales it as
            the value was (arXiv:2410.06424).
        update: `ema`, N <- decay N + (1 - decay) n with n the values that chose the code, M the
            same with their sum, code = M / N~, N~ = (N + eps) sum(N) / (sum(N) + K eps), N kept
            raw; `unit_ema`, of cosine, where a code that values chose turns towards their mean,
            code = unit(decay code + (1 - decay) unit(mean)), and N moves as above but is only
            looked at (LaBraM, BEiT v2); or `gradient`, a codebook that the codebook loss
            mean((sg(x) - code)^2) trains.
        decay, eps: of the averages; `unit_ema` takes no eps.
        commitment: weight of mean((x - sg(code))^2) in the loss.
        dead_code_threshold: of `ema`: a code with N below it starts again at a value of the batch,
            with N the threshold. The i-th of m such codes takes value floor((2 i + 1) n / (2 m)) of
            the n that are not masked, in the order batch, time; only the first n codes where m > n.
        kmeans_iterations: of `ema`: above 0, the first training step starts with k-means on its own
            batch.
        cosine: values and codes are scaled to length 1 first; the output is then of length 1.
        initializer: of the codebook; None is U(-1/K, 1/K).
    Source:
        van den Oord et al. 2017, arXiv:1711.00937; ema and cosine as in vector-quantize-pytorch.
    """

    finite: ClassVar[str | None] = "a quantiser"
    surrogate_gradient: ClassVar[bool] = True

    kind: Literal["vector_quantizer"] = "vector_quantizer"
    channels: Positive
    codes: Annotated[Whole, Field(ge=2)]
    gradient: Literal["straight_through", "rotation"] = "straight_through"
    update: Literal["ema", "unit_ema", "gradient"] = "ema"
    decay: Rate = 0.95
    eps: Annotated[float, Field(gt=0.0)] = 1e-5
    commitment: Weight = 0.25
    dead_code_threshold: Weight = 0.1
    kmeans_iterations: Annotated[Whole, Field(ge=0)] = 0
    cosine: bool = False
    initializer: Initializer | None = None

    @model_validator(mode="after")
    def _first_step_can_start(self) -> Self:
        if self.update == "gradient" and self.kmeans_iterations:
            raise ValueError(
                "kmeans_iterations must be 0 with update 'gradient'; call initialise_codebook "
                "before training instead"
            )
        if self.update == "unit_ema":
            if not self.cosine:
                raise ValueError("update 'unit_ema' turns codes of length 1, so it needs cosine")
            if self.dead_code_threshold:
                raise ValueError(
                    "update 'unit_ema' restarts no codes, so dead_code_threshold must be 0, but "
                    f"is {self.dead_code_threshold}"
                )
        return self

    @property
    def input_channels(self) -> int:
        """Channels of the input and of a code."""
        return self.channels

    def own_params(self) -> dict[str, Param]:
        """`codebook` (K, channels); else than for gradient `cluster_size` N; for ema `embed_avg` M.

        All but the codebook of gradient are buffers.

        `initialised` is 1 once k-means has run, where the first step asks for it.
        """
        shape = (self.codes, self.channels)
        init = Init("uniform", 1.0 / self.codes)
        if self.initializer is not None:
            init = self.initializer.init(self.channels, self.codes)
        if self.update == "gradient":
            return {"codebook": Param(shape, "OI", init)}
        copied = Init("copy_of", sibling="codebook")
        table = {
            "codebook": Param(shape, "OI", init, "statistic"),
            "cluster_size": Param((self.codes,), "C", Init("constant", 1.0), "statistic"),
        }
        if self.update == "ema":
            table["embed_avg"] = Param(shape, "OI", copied, "statistic")
        if self.kmeans_iterations:
            table["initialised"] = Param((1,), "C", Init("constant", 0.0), "statistic")
        return table

    def macs_of(self, input_shape: Shape) -> int:
        """One product with each code."""
        return self.channels * self.codes * math.prod(input_shape[1:])


class ResidualVqSpec(Spec):
    """Vector quantisers in a row, each of what the ones before have left; the output is their sum.

    What is left is taken without a gradient to the codes. Each level hands the gradient of the
    output on to the input, where they add up.

    Attributes:
        quantizer: of every level.
        levels: how many.
        shared: one codebook for all. Each level then moves the averages N and M in turn, and codes
            are read from them, and dead ones restarted from the values of all levels (in the order
            batch, time, level), once at the end of the step.
    Source:
        Zeghidour et al. 2021, arXiv:2107.03312, algorithm 1.
    """

    finite: ClassVar[str | None] = "a quantiser"
    surrogate_gradient: ClassVar[bool] = True

    kind: Literal["residual_vq"] = "residual_vq"
    quantizer: VectorQuantizerSpec
    levels: Depth
    shared: bool = False

    @model_validator(mode="after")
    def _shared_codes_have_averages(self) -> Self:
        if self.shared and self.quantizer.update == "unit_ema":
            raise ValueError(
                "a shared codebook is moved by averages once a step, so update 'unit_ema' cannot be"
            )
        return self

    @property
    def channels(self) -> int:
        """Width of a code."""
        return self.quantizer.channels

    @property
    def input_channels(self) -> int:
        """Channels of the input."""
        return self.channels

    def children(self) -> dict[str, Spec]:
        """`levels.0`, `levels.1`, ...; only the first where it is shared."""
        count = 1 if self.shared else self.levels
        return {f"levels.{level}": self.quantizer for level in range(count)}

    def macs_of(self, input_shape: Shape) -> int:
        """Sum over the levels."""
        return self.levels * self.quantizer.macs_of(input_shape)
