#!/usr/bin/env bash
# TensorFlow 2.21.0 and LiteRT 2.3.0: a converted tf.nn.softplus is log(1 + exp(x)) as it stands, so that float32 values from
# 89 on become infinite in the .tflite file. TensorFlow itself gives x there. The converter says nothing of it. Models with
# a softplus, such as the time steps of a state-space layer, are right on small signals and infinite or NaN on large ones.
# Seen:
#   x              -100        0       88       89      200
#   TensorFlow        0    0.693       88       89      200
#   LiteRT            0    0.693       88      inf      inf
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0 ai-edge-litert==2.3.0
"$folder/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

x = np.array([-100.0, 0.0, 88.0, 89.0, 200.0], np.float32)
function = tf.function(tf.nn.softplus, input_signature=[tf.TensorSpec([5], tf.float32)])
model = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()]).convert()
engine = Interpreter(model_content=model)
engine.allocate_tensors()
engine.set_tensor(engine.get_input_details()[0]["index"], x)
engine.invoke()
found = engine.get_tensor(engine.get_output_details()[0]["index"])
right = tf.nn.softplus(x).numpy()
for name, row in (("x", x), ("TensorFlow", right), ("LiteRT", found)):
    print(f"{name:10}", *(f"{value:8.3g}" for value in row))
assert np.isfinite(right).all()
assert np.isfinite(found).tolist() == [True, True, True, False, False]
PYTHON
