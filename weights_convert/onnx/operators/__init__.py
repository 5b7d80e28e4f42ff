"""What each ONNX operator means: one function for each, which appends steps to a program."""

from . import (
    arithmetic as arithmetic,
    conv as conv,
    dense as dense,
    norm as norm,
    pointwise as pointwise,
    pool as pool,
    reshape as reshape,
    resize as resize,
    time as time,
)
