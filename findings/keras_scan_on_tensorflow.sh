#!/usr/bin/env bash
# keras.ops.scan(f, init, xs) takes f: (carry, x) -> (carry, y), and in Keras 3.15.1 on torch 2.13.0 a y
# may have any shape. On TensorFlow 2.21.0 the ys are allocated with the shape of the carry, so a scalar
# running sum that also hands on its rows of 3 values is a ValueError there:
#
#     torch       carry 66.0, ys (4, 3)
#     tensorflow  ValueError: Incompatible shape for value ((3,)), expected (())
#
# Code that only keeps what it carries (a plain recurrence) does not meet it, nor do tests on torch. The
# script fails when TensorFlow gives the answer, too.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 tensorflow==2.21.0 torch==2.13.0

cat > "$folder/scan.py" <<'PYTHON'
import keras
import numpy as np

rows = np.arange(12.0, dtype="float32").reshape(4, 3)
try:
    total, kept = keras.ops.scan(lambda c, x: (c + keras.ops.sum(x), x), np.float32(0.0), rows)
    print(f"carry {float(total)}, ys {tuple(kept.shape)}")
except ValueError as error:
    print(f"ValueError: {error}")
PYTHON

said() {
    KERAS_BACKEND=$1 TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" "$folder/scan.py" 2>/dev/null
}

on_torch=$(said torch)
on_tensorflow=$(said tensorflow)
echo "torch       $on_torch"
echo "tensorflow  $on_tensorflow"
[ "$on_torch" = "carry 66.0, ys (4, 3)" ]
[ "$on_tensorflow" = "ValueError: Incompatible shape for value ((3,)), expected (())" ]
