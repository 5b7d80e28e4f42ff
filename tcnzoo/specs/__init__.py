"""What a model is, without any framework: one file a family of blocks."""

from tcnzoo.specs.activation import ActivationSpec, DropoutSpec, GluSpec
from tcnzoo.specs.attention import AttentionSpec, QkvSpec
from tcnzoo.specs.base import (
    EmbeddingSpec,
    MaskSpec,
    ReceptiveField,
    Shape,
    SideInput,
    Spec,
    StateItem,
)
from tcnzoo.specs.channel_adapter import ChannelAdapterSpec
from tcnzoo.specs.conv import Conv1dSpec, ConvBlockSpec, ConvTranspose1dSpec
from tcnzoo.specs.conv2d import Conv2dSpec, Tcn2dSpec, TemporalBlock2dSpec
from tcnzoo.specs.dense import DenseBlockSpec, DenseSpec
from tcnzoo.specs.device_attention import DeviceAttentionSpec, DevicePoolSpec, DeviceSplitSpec
from tcnzoo.specs.fsq import FsqSpec
from tcnzoo.specs.graph import GraphSpec, MergeSpec, NodeSpec
from tcnzoo.specs.hdp import HdpSpec
from tcnzoo.specs.heads import HeadsSpec
from tcnzoo.specs.hsmm import HsmmSpec
from tcnzoo.specs.mamba import BiMamba2LayerSpec, BiMamba2Spec, Mamba2Spec
from tcnzoo.specs.norm import (
    BatchNormSpec,
    GroupNormSpec,
    LayerNormSpec,
    RmsNormSpec,
    WeightNormSpec,
)
from tcnzoo.specs.params import InitializerSpec
from tcnzoo.specs.patch_embed import PatchEmbedSpec
from tcnzoo.specs.pool import PoolSpec, UpsampleSpec, WindowPoolSpec
from tcnzoo.specs.positions import ElectrodeEmbeddingSpec, TimeEmbeddingSpec
from tcnzoo.specs.projection_head import ProjectionHeadSpec
from tcnzoo.specs.recurrent import GruSpec, LstmSpec
from tcnzoo.specs.reshape import FlattenSpec, PadSpec
from tcnzoo.specs.sequential import SequentialSpec
from tcnzoo.specs.spectrum import SpectrumSpec
from tcnzoo.specs.squeeze_excitation import SqueezeExcitationSpec
from tcnzoo.specs.tcn import TcnSpec, TemporalBlockSpec
from tcnzoo.specs.tokens import ClsTokenSpec, MaskTokenSpec
from tcnzoo.specs.transformer import DropPathSpec, TransformerBlockSpec, TransformerSpec
from tcnzoo.specs.union import SPEC_ADAPTER, AnySpec, NodeLayer
from tcnzoo.specs.vector_quantizer import ResidualVqSpec, VectorQuantizerSpec
from tcnzoo.specs.vq_hdp_hsmm import VqHdpHsmmSpec

__all__ = [
    "ProjectionHeadSpec",
    "ChannelAdapterSpec",
    "SPEC_ADAPTER",
    "ActivationSpec",
    "AnySpec",
    "BatchNormSpec",
    "BiMamba2LayerSpec",
    "BiMamba2Spec",
    "ClsTokenSpec",
    "Conv1dSpec",
    "Conv2dSpec",
    "ConvBlockSpec",
    "ConvTranspose1dSpec",
    "DenseBlockSpec",
    "DenseSpec",
    "DeviceAttentionSpec",
    "DevicePoolSpec",
    "DeviceSplitSpec",
    "DropoutSpec",
    "ElectrodeEmbeddingSpec",
    "EmbeddingSpec",
    "ReceptiveField",
    "FlattenSpec",
    "FsqSpec",
    "GluSpec",
    "GraphSpec",
    "GroupNormSpec",
    "GruSpec",
    "HdpSpec",
    "HeadsSpec",
    "HsmmSpec",
    "InitializerSpec",
    "LayerNormSpec",
    "LstmSpec",
    "Mamba2Spec",
    "MaskSpec",
    "MaskTokenSpec",
    "MergeSpec",
    "NodeLayer",
    "NodeSpec",
    "PadSpec",
    "PatchEmbedSpec",
    "PoolSpec",
    "ResidualVqSpec",
    "RmsNormSpec",
    "SequentialSpec",
    "Shape",
    "SideInput",
    "Spec",
    "SpectrumSpec",
    "SqueezeExcitationSpec",
    "StateItem",
    "Tcn2dSpec",
    "TcnSpec",
    "TemporalBlock2dSpec",
    "TemporalBlockSpec",
    "TimeEmbeddingSpec",
    "UpsampleSpec",
    "VectorQuantizerSpec",
    "VqHdpHsmmSpec",
    "WeightNormSpec",
    "WindowPoolSpec",
    "AttentionSpec",
    "QkvSpec",
    "DropPathSpec",
    "TransformerBlockSpec",
    "TransformerSpec",
]
