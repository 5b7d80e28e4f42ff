"""Dense layers."""

from .builder import Value
from .emit import Place, emits


@emits("dense")
def dense(place: Place, x: Value) -> Value:
    """y = W x + b, of a vector or of the channels of every step."""
    spec = place.spec
    shape = (spec.out_features, *x.shape[1:])
    bias = [place.vector("bias")] if spec.bias else []
    if not x.is_signal:
        return Value(place.op("Gemm", x, place.vector("weight"), *bias, transB=1), shape)
    if place.wide:
        return Value(place.op("Conv", x, place.pointwise_kernel(), *bias), shape)
    name = place.op("MatMul", place.vector("weight"), x)
    if bias:
        name = place.op("Add", name, place.over_time(bias[0]))
    return Value(name, shape, x.may_be_empty)


@emits("dense_block")
def dense_block(place: Place, x: Value) -> Value:
    """Dense -> norm -> activation -> dropout."""
    x = place.apply("dense", x)
    for name in ("norm", "activation", "dropout"):
        x = place.optional(name, x)
    return x
