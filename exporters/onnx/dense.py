"""Dense layers."""

from tcnzoo.specs import DenseBlockSpec, DenseSpec

from .block import BlockWriter, writes
from .builder import Value


@writes("dense")
def dense(block: BlockWriter[DenseSpec], x: Value) -> Value:
    """y = W x + b, of a vector or of the channels of every step."""
    spec = block.spec
    shape = (spec.out_features, *x.shape[1:])
    bias = [block.vector("bias")] if spec.bias else []
    if not x.is_signal:
        return Value(block.op("Gemm", x, block.vector("weight"), *bias, transB=1), shape)
    if block.wide:
        return Value(block.op("Conv", x, block.pointwise_kernel(), *bias), shape)
    name = block.op("MatMul", block.vector("weight"), x)
    if bias:
        name = block.op("Add", name, block.over_time(bias[0]))
    return Value(name, shape, x.may_be_empty)


@writes("dense_block")
def dense_block(block: BlockWriter[DenseBlockSpec], x: Value) -> Value:
    """Dense -> norm -> activation -> dropout."""
    x = block.apply("dense", x)
    for name in ("norm", "activation", "dropout"):
        x = block.optional(name, x)
    return x
