"""What a model is, without any framework: one file a family of blocks."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from tcnzoo.specs.activation import ActivationSpec, DropoutSpec, GluSpec
from tcnzoo.specs.base import EmbeddingSpec, Field1d, Shape, Spec, StateItem
from tcnzoo.specs.conv import Conv1dSpec, ConvBlockSpec, ConvTranspose1dSpec
from tcnzoo.specs.dense import DenseBlockSpec, DenseSpec
from tcnzoo.specs.graph import GraphSpec, MergeSpec, NodeSpec
from tcnzoo.specs.initializer import InitializerSpec
from tcnzoo.specs.mamba import BiMamba2LayerSpec, BiMamba2Spec, Mamba2Spec
from tcnzoo.specs.norm import BatchNormSpec, LayerNormSpec, RmsNormSpec, WeightNormSpec
from tcnzoo.specs.pool import PoolSpec, UpsampleSpec, WindowPoolSpec
from tcnzoo.specs.reshape import FlattenSpec, PadSpec
from tcnzoo.specs.sequential import SequentialSpec
from tcnzoo.specs.squeeze_excitation import SqueezeExcitationSpec
from tcnzoo.specs.tcn import TcnSpec, TemporalBlockSpec

AnySpec = Annotated[
    ActivationSpec
    | BatchNormSpec
    | BiMamba2LayerSpec
    | BiMamba2Spec
    | Conv1dSpec
    | ConvBlockSpec
    | ConvTranspose1dSpec
    | DenseBlockSpec
    | DenseSpec
    | DropoutSpec
    | FlattenSpec
    | GluSpec
    | GraphSpec
    | LayerNormSpec
    | Mamba2Spec
    | PadSpec
    | PoolSpec
    | RmsNormSpec
    | SequentialSpec
    | SqueezeExcitationSpec
    | TcnSpec
    | TemporalBlockSpec
    | UpsampleSpec
    | WindowPoolSpec,
    Field(discriminator="kind"),
]

NodeLayer = Annotated[AnySpec | MergeSpec, Field(discriminator="kind")]

for _spec in (SequentialSpec, NodeSpec, GraphSpec):
    _spec.model_rebuild(_types_namespace={"AnySpec": AnySpec, "NodeLayer": NodeLayer})
SPEC_ADAPTER: TypeAdapter[Spec] = TypeAdapter(AnySpec)

__all__ = [
    "SPEC_ADAPTER",
    "ActivationSpec",
    "AnySpec",
    "BatchNormSpec",
    "BiMamba2LayerSpec",
    "BiMamba2Spec",
    "Conv1dSpec",
    "ConvBlockSpec",
    "ConvTranspose1dSpec",
    "DenseBlockSpec",
    "DenseSpec",
    "DropoutSpec",
    "EmbeddingSpec",
    "Field1d",
    "FlattenSpec",
    "GluSpec",
    "GraphSpec",
    "InitializerSpec",
    "LayerNormSpec",
    "Mamba2Spec",
    "MergeSpec",
    "NodeLayer",
    "NodeSpec",
    "PadSpec",
    "PoolSpec",
    "RmsNormSpec",
    "SequentialSpec",
    "Shape",
    "Spec",
    "SqueezeExcitationSpec",
    "StateItem",
    "TcnSpec",
    "TemporalBlockSpec",
    "UpsampleSpec",
    "WeightNormSpec",
    "WindowPoolSpec",
]
