"""What a model is, without any framework: one file a family of blocks."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from tcnzoo.specs.activation import ActivationSpec, DropoutSpec, GluSpec
from tcnzoo.specs.base import EmbeddingSpec, Field1d, Shape, Spec, StateItem
from tcnzoo.specs.conv import Conv1dSpec, ConvBlockSpec, ConvTranspose1dSpec
from tcnzoo.specs.dense import DenseBlockSpec, DenseSpec
from tcnzoo.specs.initializer import InitializerSpec
from tcnzoo.specs.norm import BatchNormSpec, LayerNormSpec, WeightNormSpec
from tcnzoo.specs.pool import PoolSpec, UpsampleSpec
from tcnzoo.specs.sequential import SequentialSpec
from tcnzoo.specs.squeeze_excitation import SqueezeExcitationSpec
from tcnzoo.specs.tcn import TcnSpec, TemporalBlockSpec

AnySpec = Annotated[
    ActivationSpec
    | BatchNormSpec
    | Conv1dSpec
    | ConvBlockSpec
    | ConvTranspose1dSpec
    | DenseBlockSpec
    | DenseSpec
    | DropoutSpec
    | GluSpec
    | LayerNormSpec
    | PoolSpec
    | SequentialSpec
    | SqueezeExcitationSpec
    | TcnSpec
    | TemporalBlockSpec
    | UpsampleSpec,
    Field(discriminator="kind"),
]

SequentialSpec.model_rebuild(_types_namespace={"AnySpec": AnySpec})
SPEC_ADAPTER: TypeAdapter[Spec] = TypeAdapter(AnySpec)

__all__ = [
    "SPEC_ADAPTER",
    "ActivationSpec",
    "AnySpec",
    "BatchNormSpec",
    "Conv1dSpec",
    "ConvBlockSpec",
    "ConvTranspose1dSpec",
    "DenseBlockSpec",
    "DenseSpec",
    "DropoutSpec",
    "EmbeddingSpec",
    "Field1d",
    "GluSpec",
    "InitializerSpec",
    "LayerNormSpec",
    "PoolSpec",
    "SequentialSpec",
    "Shape",
    "Spec",
    "SqueezeExcitationSpec",
    "StateItem",
    "TcnSpec",
    "TemporalBlockSpec",
    "UpsampleSpec",
    "WeightNormSpec",
]
