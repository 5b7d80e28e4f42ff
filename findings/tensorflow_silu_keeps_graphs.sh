#!/usr/bin/env bash
# In TensorFlow 2.21.0 every tf.function that traces tf.nn.silu (swish) keeps its graph for as long as the
# process lives: the custom gradient is registered under a name of its own at each trace, its closure holds
# tensors of the graph, and nothing takes it out of the registry. The same function written as
# x * sigmoid(x), or with relu, gelu or softplus, lets its graph go:
#
#     silu 5 of 5 graphs kept
#     x * sigmoid(x) 0 of 5 graphs kept
#     gelu 0 of 5 graphs kept
#
# A process that builds many models (a search, a test suite, a server that reloads) grows with each of
# them. keras.ops.silu on TensorFlow is tf.nn.silu. The script fails when the graphs are let go.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0

cat > "$folder/graphs.py" <<'PYTHON'
import gc
import weakref

import tensorflow as tf

FUNCTIONS = {
    "silu": tf.nn.silu,
    "x * sigmoid(x)": lambda x: x * tf.sigmoid(x),
    "gelu": tf.nn.gelu,
}
for name, activation in FUNCTIONS.items():
    graphs = []
    for _ in range(5):
        traced = tf.function(lambda x, apply=activation: apply(x) * 2.0)
        concrete = traced.get_concrete_function(tf.TensorSpec([None, 4]))
        graphs.append(weakref.ref(concrete.graph))
        del traced, concrete
    gc.collect()
    print(f"{name} {sum(graph() is not None for graph in graphs)} of 5 graphs kept")
PYTHON

said=$(TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" "$folder/graphs.py" 2>/dev/null)
echo "$said"
[ "$said" = "silu 5 of 5 graphs kept
x * sigmoid(x) 0 of 5 graphs kept
gelu 0 of 5 graphs kept" ]
