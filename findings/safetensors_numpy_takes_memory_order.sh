#!/usr/bin/env bash
# safetensors.numpy 0.8.0 stores the memory of an array from its first byte on, whatever its strides: a
# transposed, Fortran-ordered, strided or reversed array comes back with its shape and other values, and no
# error. Weights of dense and convolution layers are transposed between frameworks, so converters hand
# over just such views. safetensors 0.5.3 stored the same arrays right:
#
#     0.5.3  plain True, transposed True, Fortran order True, every second column True
#     0.8.0  plain True, transposed False, Fortran order False, every second column False
#
# np.ascontiguousarray before saving is enough. The script fails when 0.8.0 does anything else.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"

cat > "$folder/views.py" <<'PYTHON'
import numpy as np
import safetensors
from safetensors.numpy import load, save

rows = np.arange(8, dtype=np.float32).reshape(2, 4)
views = {
    "plain": rows,
    "transposed": rows.T,
    "Fortran order": np.asfortranarray(rows),
    "every second column": rows[:, ::2],
}
kept = (f"{name} {np.array_equal(load(save({'x': x}))['x'], x)}" for name, x in views.items())
print(f"{safetensors.__version__}  {', '.join(kept)}")
PYTHON

said() {
    "$folder/venv/bin/pip" install --quiet numpy==2.3.5 "safetensors==$1"
    "$folder/venv/bin/python" "$folder/views.py"
}

before=$(said 0.5.3)
now=$(said 0.8.0)
echo "$before"
echo "$now"
[ "$before" = "0.5.3  plain True, transposed True, Fortran order True, every second column True" ]
[ "$now" = "0.8.0  plain True, transposed False, Fortran order False, every second column False" ]
