"""Attention of tokens to tokens: which see which, how heads are normed, and what a stream keeps."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tcnzoo.errors import InputError
from tcnzoo.specs.activation import DropoutSpec
from tcnzoo.specs.base import (
    MaskSpec,
    NoneWord,
    Positive,
    Rate,
    ReceptiveField,
    Shape,
    SideInput,
    SideName,
    Spec,
    StateItem,
    Usage,
    described,
    require_channels,
)
from tcnzoo.specs.dense import DenseSpec
from tcnzoo.specs.norm import LayerNormSpec, RmsNormSpec, named_norm
from tcnzoo.specs.params import Init, Initializer, InitializerSpec, Param

Biases = Literal["none", "qv", "qkv"]
# As in ViT, BEiT and LaBraM.
TOKENS = InitializerSpec(name="trunc_normal", gain=0.02)


def token_steps(spec: Spec, input_shape: Shape) -> int:
    """How many tokens an input has.

    Raises:
        InputError: no sequence of tokens, or not of the width that the block takes.
    """
    spec.check_channels(input_shape)
    if len(input_shape) != 2:
        raise InputError(
            f"{spec.kind} expects tokens (batch, channels, tokens), but {described(input_shape)} "
            "came"
        )
    return input_shape[1]


class TokenNorm(BaseModel):
    """A normalisation of the values of each token, of a width that the block knows.

    Attributes:
        kind: `layer_norm` or `rms_norm`; see these blocks.
        eps: added to the variance, or to the mean square.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["layer_norm", "rms_norm"] = "layer_norm"
    eps: Annotated[float, Field(gt=0.0)] = 1e-5

    def of(self, channels: int) -> Spec:
        """The block, for a width."""
        block = LayerNormSpec if self.kind == "layer_norm" else RmsNormSpec
        return block(channels=channels, eps=self.eps)


NormOfTokens = Annotated[TokenNorm, BeforeValidator(named_norm)]
OptionalNorm = Annotated[NormOfTokens | None, NoneWord]


class QkvSpec(Spec):
    """Queries, keys and values of tokens in one map: (batch, C, N) -> (batch, 3 I, N).

    Attributes:
        channels: width of the tokens, C.
        inner: width of the queries, I; that of keys and values, too.
        bias: of all three, of queries and values only (BEiT), or none.
        initializer: of the kernel.
    """

    usage: ClassVar[Usage] = "field"

    kind: Literal["qkv"] = "qkv"
    channels: Positive
    inner: Positive
    bias: Biases = "qkv"
    initializer: Initializer = TOKENS

    @property
    def input_channels(self) -> int:
        """Width of the tokens."""
        return self.channels

    def own_params(self) -> dict[str, Param]:
        """`weight` (3 I, C), rows of queries, keys and values, and (I,) of each bias."""
        start = self.initializer.init(self.channels, self.inner)
        rows = {"weight": Param((3 * self.inner, self.channels), "OI", start)}
        biases = {"none": "", "qv": "qv", "qkv": "qkv"}[self.bias]
        zeros = Param((self.inner,), "C", Init("constant", 0.0), "bias")
        return {**rows, **{f"{letter}_bias": zeros for letter in biases}}

    def output_shape(self, input_shape: Shape) -> Shape:
        """(C, N) -> (3 I, N)."""
        return 3 * self.inner, token_steps(self, input_shape)

    def macs_of(self, input_shape: Shape) -> int:
        """3 I C for each token."""
        return 3 * self.inner * self.channels * input_shape[1]


class AttentionSpec(Spec):
    """Multi-head attention of tokens to one another: (batch, channels, N) -> the same shape.

    `qkv` maps each token to a query, a key and a value for each head, head h being the `head_dim`
    values from h * head_dim on; q_norm and k_norm norm them. A token's answer is
    softmax(scale * q k^T) v over the keys that it may attend, heads side by side, through `proj`. A
    query that may attend no key gives zeros before `proj`.

    Attributes:
        channels: width of the tokens; left out inside a transformer_block, which knows it.
        heads: how many.
        head_dim: width of one; None for channels / heads.
        qkv_bias: of queries, keys and values, of queries and values, or none.
        qk_norm: of queries and of keys, over head_dim, shared by the heads; or none.
        out_bias: of `proj`.
        scale: of the products; None for 1 / sqrt(head_dim).
        dropout: rate in training, of the weights of the keys.
        causal: a query attends its own key and earlier ones only.
        window: with `causal`, its own key and the `window` - 1 before it only; needed to stream.
        key_mask: name of a mask (batch, N), 1 where a key may be attended.
        pair_mask: name of a mask (batch, N, N), 1 where a query (row) may attend a key (column).
        initializer: of the kernel of `qkv`.
        initializer_out: of the kernel of `proj`; None for the same.
    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.2; q/k norm of Henry et al. 2020,
        arXiv:2010.04245; a bias of queries and values only as in BEiT, arXiv:2106.08254.
    """

    kind: Literal["attention"] = "attention"
    channels: Positive | None = None
    heads: Positive
    head_dim: Positive | None = None
    qkv_bias: Annotated[Biases, BeforeValidator(lambda value: value or "none")] = "qkv"
    qk_norm: OptionalNorm = None
    out_bias: bool = True
    scale: Annotated[float, Field(gt=0.0)] | None = None
    dropout: Rate = 0.0
    causal: bool = False
    window: Positive | None = None
    key_mask: SideName | None = None
    pair_mask: SideName | None = None
    initializer: Initializer = TOKENS
    initializer_out: Initializer | None = None

    @model_validator(mode="after")
    def _fields_fit(self) -> Self:
        if self.channels is not None and self.head_dim is None and self.channels % self.heads:
            raise ValueError(
                f"heads must divide the {self.channels} channels where head_dim is left out, "
                f"but is {self.heads}"
            )
        if self.window is not None and not self.causal:
            raise ValueError(f"window needs causal: true, but window={self.window} came without it")
        if self.key_mask is not None and self.key_mask == self.pair_mask:
            raise ValueError(
                f"key_mask and pair_mask must have different names, but both are {self.key_mask!r}"
            )
        return self

    @property
    def input_channels(self) -> int | None:
        """Width of the tokens."""
        return self.channels

    def with_channels(self, channels: int) -> "AttentionSpec":
        """The same attention for a known width.

        Raises:
            ValueError: the heads do not divide it.
        """
        return AttentionSpec.model_validate({**dict(self), "channels": channels})

    @property
    def width(self) -> int:
        """Values of one head."""
        return self.head_dim or require_channels(self.kind, self.channels) // self.heads

    @property
    def inner(self) -> int:
        """Values of all heads."""
        return self.heads * self.width

    @property
    def factor(self) -> float:
        """On the products of queries and keys."""
        return self.width**-0.5 if self.scale is None else self.scale

    @property
    def reach(self) -> int:
        """Tokens before its own that a query may attend; 0 where any number."""
        return 0 if self.window is None else self.window - 1

    @property
    def embedding_specs(self) -> tuple[SideInput, ...]:
        """The key mask and the pair mask, those that are named."""
        keys = () if self.key_mask is None else (MaskSpec(name=self.key_mask),)
        pairs = () if self.pair_mask is None else (MaskSpec(name=self.pair_mask, pairs=True),)
        return (*keys, *pairs)

    def children(self) -> dict[str, Spec]:
        """`qkv`, `q_norm` and `k_norm`, `dropout`, `proj`: those that exist."""
        channels = require_channels(self.kind, self.channels)
        parts: dict[str, Spec] = {
            "qkv": QkvSpec(
                channels=channels,
                inner=self.inner,
                bias=self.qkv_bias,
                initializer=self.initializer,
            )
        }
        if self.qk_norm is not None:
            parts["q_norm"] = parts["k_norm"] = self.qk_norm.of(self.width)
        if self.dropout > 0.0:
            parts["dropout"] = DropoutSpec(rate=self.dropout)
        parts["proj"] = DenseSpec(
            in_features=self.inner,
            out_features=channels,
            bias=self.out_bias,
            initializer=self.initializer_out or self.initializer,
        )
        return parts

    def own_state(self) -> dict[str, StateItem]:
        """Of the last `window` - 1 tokens: `keys` and `values` (I, window - 1), and `seen`.

        `seen` (window - 1,) is 1 where there is a key that may be attended: at the start there is
        none.
        """
        if not self.reach:
            return {}
        kept = StateItem((self.inner, self.reach))
        return {"keys": kept, "values": kept, "seen": StateItem((self.reach,))}

    def own_streaming_blocker(self) -> str | None:
        """All but causal attention with a window."""
        if not self.causal:
            return (
                "attention looks at the whole signal, so it cannot stream; use causal: true with a "
                "window"
            )
        if self.window is None:
            return (
                "causal attention without a window keeps every earlier token, so it cannot stream; "
                "give it a window"
            )
        if self.pair_mask is not None:
            return (
                f"the mask {self.pair_mask!r} is of pairs of tokens, which stand in different "
                "chunks, so it cannot stream"
            )
        return None

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, N) -> the same."""
        token_steps(self, input_shape)
        return input_shape

    def macs_of(self, input_shape: Shape) -> int:
        """The maps, and two products for each query with each key that it may attend."""
        tokens = token_steps(self, input_shape)
        parts = self.children()
        norms = [parts[name] for name in ("q_norm", "k_norm") if name in parts]
        maps = parts["qkv"].macs_of(input_shape) + parts["proj"].macs(tokens)
        normed = sum(norm.macs(tokens * self.heads) for norm in norms)
        return maps + normed + 2 * self.inner * self.pairs(tokens)

    def pairs(self, tokens: int) -> int:
        """Pairs of a query and a key that it may attend, of so many tokens without a mask."""
        if not self.causal:
            return tokens * tokens
        seen = tokens if self.window is None else min(tokens, self.window)
        return seen * (seen + 1) // 2 + (tokens - seen) * seen

    def field(self) -> ReceptiveField:
        """The window, where there is one."""
        return ReceptiveField.of(self.reach)

    @property
    def pools_all(self) -> bool:
        """Without a window."""
        return self.window is None

    @property
    def squares_length(self) -> bool:
        """Without a window."""
        return self.window is None
