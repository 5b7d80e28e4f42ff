#!/usr/bin/env bash
# keras.ops.scan(f, init, xs) is documented as jax.lax.scan: f takes (carry, x) and returns (carry, y),
# with y of any shape. Keras 3.15.1 on TensorFlow 2.21.0 allocates the ys with the shape of the carry, so a
# scalar running sum that also hands on its rows of 3 values is a ValueError there:
#
#     numpy       carry 66.0, ys (4, 3)
#     tensorflow  ValueError: Incompatible shape for value ((3,)), expected (())
#
# Code that only ever keeps what it carries (a plain recurrence) does not meet it, nor does code tested on
# JAX, torch or numpy. The script fails when TensorFlow gives the answer, too.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 tensorflow==2.21.0

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

on_numpy=$(said numpy)
on_tensorflow=$(said tensorflow)
echo "numpy       $on_numpy"
echo "tensorflow  $on_tensorflow"
[ "$on_numpy" = "carry 66.0, ys (4, 3)" ]
[ "$on_tensorflow" = "ValueError: Incompatible shape for value ((3,)), expected (())" ]
