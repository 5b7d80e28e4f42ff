"""Functions of float64 that MLX computes to float32's precision on a CPU.

Its exp is off by 6e-7 there, and all that is made of it; expm1, log1p and tanh are not. Values of
other types take MLX's own functions.
"""

import math
from typing import cast

import mlx.core as mx

from ..types import reduced

# Erf is 1 to the last bit from here on, and up to here its series needs so many terms.
LAST, TERMS = 6.0, 120
# How often e^-x^2 is squared up from its root.
ROOT = 4


def exp(x: mx.array) -> mx.array:
    """e^x."""
    return mx.expm1(x) + 1.0 if x.dtype == mx.float64 else mx.exp(x)


def sigmoid(x: mx.array) -> mx.array:
    """1 / (1 + e^-x)."""
    if x.dtype != mx.float64:
        # MLX's own takes e^|x| in the type, which overflows in float16 from 11.1 on.
        return reduced(mx.sigmoid, x)
    return 0.5 + 0.5 * mx.tanh(0.5 * x)


def silu(x: mx.array) -> mx.array:
    """X * sigmoid(x)."""
    return reduced(lambda x: x * sigmoid(x), x)


def softplus(x: mx.array) -> mx.array:
    """log(1 + e^x)."""
    if x.dtype != mx.float64:
        return reduced(lambda x: mx.logaddexp(x, 0.0), x)
    return 0.5 * (x + mx.abs(x)) + mx.log1p(exp(-mx.abs(x)))


@mx.custom_function
def _erf(x: mx.array) -> mx.array:
    """2 / sqrt(pi) * x * e^-x^2 * (1 + 2 x^2 / 3 * (1 + 2 x^2 / 5 * ...))."""
    x = mx.clip(x, -LAST, LAST)
    square, total = 2.0 * mx.square(x), mx.ones_like(x)
    for odd in range(2 * TERMS + 1, 1, -2):
        total = 1.0 + square / odd * total
    # As a power of its root: exp is right to 1e-16 of 1, and e^-36 has to be to 1e-16 of itself.
    root = exp(-mx.square(x) / 2**ROOT)
    for _ in range(ROOT):
        root = mx.square(root)
    return 2.0 / math.sqrt(math.pi) * x * root * total


@_erf.vjp
def _erf_slope(primal: mx.array, cotangent: mx.array, output: mx.array) -> mx.array:
    """2 / sqrt(pi) * e^-x^2."""
    return cotangent * (2.0 / math.sqrt(math.pi)) * exp(-mx.square(primal))


def erf(x: mx.array) -> mx.array:
    """2 / sqrt(pi) * the integral of e^-t^2 from 0 to x."""
    return cast(mx.array, _erf(x)) if x.dtype == mx.float64 else mx.erf(x)


def logsumexp(x: mx.array) -> mx.array:
    """log(sum of e^x) over the last axis, which stays with length 1."""
    if x.dtype != mx.float64:
        return reduced(lambda x: mx.logsumexp(x, axis=-1, keepdims=True), x)
    top = mx.stop_gradient(x.max(axis=-1, keepdims=True))
    return top + mx.log(exp(x - top).sum(axis=-1, keepdims=True))


def softmax(x: mx.array) -> mx.array:
    """e^x as shares of their sum over the last axis."""
    if x.dtype != mx.float64:
        return mx.softmax(x, axis=-1, precise=True)
    return exp(x - logsumexp(x))


def rms_norm(x: mx.array, weight: mx.array, eps: float) -> mx.array:
    """x / sqrt(mean(x^2) + eps) * weight, over the last axis."""
    if x.dtype != mx.float64:
        return mx.fast.rms_norm(x, weight, eps)
    return x * mx.rsqrt(mx.square(x).mean(axis=-1, keepdims=True) + eps) * weight


def layer_norm(x: mx.array, weight: mx.array, bias: mx.array, eps: float) -> mx.array:
    """The same of x less its mean, plus bias."""
    if x.dtype != mx.float64:
        return mx.fast.layer_norm(x, weight, bias, eps)
    return rms_norm(x - x.mean(axis=-1, keepdims=True), weight, eps) + bias
