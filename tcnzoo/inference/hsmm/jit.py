"""Loops that numba compiles, where it is installed."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., object])


def jit(function: F) -> F:
    """Compile with numba; the machine code is kept beside the file, or in the user's cache.

    Without numba the function stays as it is, so that its module can be imported.
    """
    if importlib.util.find_spec("numba") is None:
        return function
    import numba

    # Sums may be taken in any order, which is what lets them run in vector registers; a division by
    # 0 gives infinity, as in numpy.
    options: dict[str, Any] = {"fastmath": {"reassoc", "contract"}, "error_model": "numpy"}
    try:
        return cast(F, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # no folder to keep it in
        return cast(F, numba.njit(**options)(function))


def _larger() -> Callable[[float, float], float]:
    """The larger of two numbers, neither of them NaN, as LLVM's own operation.

    Of `max` the compiler makes comparisons, one after the other; of this one it makes vectors.
    """
    if importlib.util.find_spec("numba") is None:
        return max
    from numba import types
    from numba.extending import intrinsic

    ir: Any = importlib.import_module("llvmlite.ir")

    @intrinsic
    def larger(context: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            double = ir.DoubleType()
            kind = ir.FunctionType(double, [double, double])
            operation = builder.module.declare_intrinsic("llvm.maxnum", [double], kind)
            return builder.call(operation, values, fastmath=("nnan", "nsz"))

        return types.float64(types.float64, types.float64), generate

    return cast(Callable[[float, float], float], larger)


larger = _larger()
