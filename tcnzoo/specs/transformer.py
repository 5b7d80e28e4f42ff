"""Transformers: the block of attention and two dense layers, a stack of it, and dropped paths."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tcnzoo.specs.activation import Activation, ActivationSpec, DropoutSpec
from tcnzoo.specs.attention import (
    TOKENS,
    AttentionSpec,
    NormOfTokens,
    OptionalNorm,
    TokenNorm,
    token_steps,
)
from tcnzoo.specs.base import (
    Depth,
    NoneWord,
    Positive,
    Rate,
    ReceptiveField,
    Shape,
    SideInput,
    Spec,
)
from tcnzoo.specs.dense import DenseSpec
from tcnzoo.specs.params import Init, Initializer, InitializerSpec, Param


class DropPathSpec(Spec):
    """Stochastic depth: in training, signals of a batch set to zero as a whole.

    Attributes:
        rate: probability for each signal; the others grow by 1 / (1 - rate).
    Source:
        Huang et al. 2016, arXiv:1603.09382, with the scaling of timm.
    """

    any_rank: ClassVar[bool] = True

    kind: Literal["drop_path"] = "drop_path"
    rate: Rate


class Mlp(BaseModel):
    """The dense layers of a transformer block.

    Attributes:
        hidden: width between them.
        activation: there.
        gated: multiply fc1 by the activation of a third layer, `gate` (GLU variants).
        bias: of all of them.
    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.3; gates of Shazeer 2020, arXiv:2002.05202.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    hidden: Positive
    activation: Activation = ActivationSpec(name="gelu")
    gated: bool = False
    bias: bool = True


class TransformerBlockSpec(Spec):
    """Attention, then two dense layers on each token, each beside a residual path.

    With `norm_first`, x += scale1 * attention(norm1(x)) and x += scale2 * mlp(norm2(x)); else
    x = norm1(x + scale1 * attention(x)) and x = norm2(x + scale2 * mlp(x)), where
    mlp(x) = fc2(activation(fc1(x))), or fc2(activation(gate(x)) * fc1(x)).

    Attributes:
        channels: width of the tokens.
        attention: its fields; its channels are those of the block.
        norm: the kind and eps of both norms.
        norm_first: norm what the layers read, and not the sum.
        layer_scale: the value that a factor for each channel starts with; none for no factors.
        drop_path: rate in training at which a signal of the batch passes a residual path alone.
        dropout: rate in training, of single values: of what attention gives, between the dense
            layers, and of what they give.
        mlp: the dense layers.
        initializer: of the kernels of `fc1` and `gate`.
        initializer_out: of the kernel of `fc2`; None for the same.
    Source:
        Vaswani et al. 2017, arXiv:1706.03762; norm first as in Xiong et al. 2020, arXiv:2002.04745;
        layer scale of Touvron et al. 2021, arXiv:2103.17239.
    """

    kind: Literal["transformer_block"] = "transformer_block"
    channels: Positive
    attention: AttentionSpec
    norm: NormOfTokens = TokenNorm()
    norm_first: bool = True
    layer_scale: Annotated[Annotated[float, Field(gt=0.0)] | None, NoneWord] = None
    drop_path: Rate = 0.0
    dropout: Rate = 0.0
    mlp: Mlp
    initializer: Initializer = TOKENS
    initializer_out: Initializer | None = None

    @model_validator(mode="after")
    def _attention_is_of_our_width(self) -> Self:
        given = self.attention.channels
        if given is not None:
            raise ValueError(
                f"attention takes its channels from the block, but channels={given} was given"
            )
        self.attention.with_channels(self.channels)
        return self

    @property
    def input_channels(self) -> int:
        """Width of the tokens."""
        return self.channels

    @property
    def embedding_specs(self) -> tuple[SideInput, ...]:
        """The masks of the attention."""
        return self.attention.embedding_specs

    def own_params(self) -> dict[str, Param]:
        """`layer_scale1` and `layer_scale2` (C,), where there are some."""
        if self.layer_scale is None:
            return {}
        factor = Param((self.channels,), "C", Init("constant", self.layer_scale), "scale")
        return {"layer_scale1": factor, "layer_scale2": factor}

    def _dense(self, inside: int, outside: int, initializer: InitializerSpec) -> DenseSpec:
        return DenseSpec(
            in_features=inside,
            out_features=outside,
            bias=self.mlp.bias,
            initializer=initializer,
        )

    def children(self) -> dict[str, Spec]:
        """The parts that exist; `dropout` and `drop_path` are used several times."""
        norm, hidden = self.norm.of(self.channels), self.mlp.hidden
        parts: dict[str, Spec] = {
            "norm1": norm,
            "attention": self.attention.with_channels(self.channels),
            "norm2": norm,
            "fc1": self._dense(self.channels, hidden, self.initializer),
        }
        if self.mlp.gated:
            parts["gate"] = self._dense(self.channels, hidden, self.initializer)
        parts["activation"] = self.mlp.activation
        parts["fc2"] = self._dense(hidden, self.channels, self.initializer_out or self.initializer)
        if self.dropout > 0.0:
            parts["dropout"] = DropoutSpec(rate=self.dropout)
        if self.drop_path > 0.0:
            parts["drop_path"] = DropPathSpec(rate=self.drop_path)
        return parts

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, N) -> the same."""
        token_steps(self, input_shape)
        return input_shape

    def macs_of(self, input_shape: Shape) -> int:
        """Those of the parts."""
        tokens = token_steps(self, input_shape)
        parts = self.children()
        attention = parts.pop("attention").macs_of(input_shape)
        return attention + sum(part.macs(tokens) for part in parts.values() if part.own_params())

    def field(self) -> ReceptiveField:
        """That of the attention."""
        return self.attention.field()


class TransformerSpec(Spec):
    """Transformer blocks, one after the other, and a last norm.

    Attributes:
        depth: how many blocks.
        block: the fields of each; its own `drop_path` is left out, see below.
        drop_path: rate of the last block; it rises linearly from 0 at the first.
        norm: after the last block; none for no norm.
        scale_by_depth: let the kernels of `proj` and `fc2` of block i (from 1) start smaller by
            sqrt(2 i), as BEiT and LaBraM do.
    Source:
        as transformer_block; rates of paths that rise with depth of Huang et al. 2016,
        arXiv:1603.09382; smaller kernels of Bao et al. 2022 (BEiT), arXiv:2106.08254, section 2.4.
    """

    kind: Literal["transformer"] = "transformer"
    depth: Depth
    block: TransformerBlockSpec
    drop_path: Rate = 0.0
    norm: OptionalNorm = None
    scale_by_depth: bool = False

    @model_validator(mode="after")
    def _paths_are_dropped_by_depth(self) -> Self:
        if self.block.drop_path:
            raise ValueError(
                "drop_path of a transformer stands beside its block, from which the rate of each "
                f"block follows, but the block has drop_path={self.block.drop_path}"
            )
        return self

    @property
    def input_channels(self) -> int:
        """Width of the tokens."""
        return self.block.channels

    @property
    def embedding_specs(self) -> tuple[SideInput, ...]:
        """The masks of the attention, which all blocks share."""
        return self.block.embedding_specs

    def _block(self, index: int) -> TransformerBlockSpec:
        """Block `index`, from 0 on."""
        changed: dict[str, object] = {
            "drop_path": self.drop_path * index / max(1, self.depth - 1),
        }
        if self.scale_by_depth:
            attention, mlp = self.block.attention, self.block
            changed["attention"] = attention.model_copy(
                update={"initializer_out": _smaller(attention, index)}
            )
            changed["initializer_out"] = _smaller(mlp, index)
        return self.block.model_copy(update=changed)

    def children(self) -> dict[str, Spec]:
        """`blocks.0`, `blocks.1`, ..., and `norm` where there is one."""
        parts: dict[str, Spec] = {f"blocks.{i}": self._block(i) for i in range(self.depth)}
        if self.norm is not None:
            parts["norm"] = self.norm.of(self.block.channels)
        return parts

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, N) -> the same."""
        token_steps(self, input_shape)
        return input_shape

    def macs_of(self, input_shape: Shape) -> int:
        """Those of the blocks and the norm."""
        norm = self.block.channels * input_shape[1] if self.norm is not None else 0
        return self.depth * self.block.macs_of(input_shape) + norm

    def field(self) -> ReceptiveField:
        """All blocks, one after the other."""
        field = ReceptiveField()
        for _ in range(self.depth):
            field = field.then(self.block.field())
        return field


def _smaller(spec: AttentionSpec | TransformerBlockSpec, index: int) -> InitializerSpec:
    """The initialiser of a block's last kernel, its gain less by sqrt(2 (index + 1))."""
    start = spec.initializer_out or spec.initializer
    gain = 1.0 if start.gain is None else start.gain
    return start.model_copy(update={"gain": gain / (2.0 * (index + 1)) ** 0.5})
