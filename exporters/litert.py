"""LiteRT (TensorFlow Lite): .tflite of one shape, float32, float16 weights, or int8 throughout.

Inputs are `x` (batch, channels, time), or (batch, channels) for vectors, and `embedding_0`, ...;
the output is `output` (of a temporal block alone also `out`). They are float32, but int8 in an int8
file: real = (integer - zero point) * scale, with the numbers that the file gives for each.
"""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.arrays import Array, Weights
from tcnzoo.errors import BackendMissing, InputError, SpecError
from tcnzoo.models.calls import create
from tcnzoo.models.outputs import Output
from tcnzoo.runtimes.protocol import ExportOptions
from tcnzoo.specs import MaskSpec, Spec
from tcnzoo.specs.folding import fold

from .calm import converting
from .traced import OUTPUTS, input_names, input_shapes

NAME = "litert"
DESCRIPTION = "LiteRT (TensorFlow Lite) for phones and microcontrollers, also int8"
SUFFIX = ".tflite"
PRECISIONS = ("float32", "float16", "int8")
NEEDS = {
    "keras": "tcnzoo[keras]",
    "tensorflow": "tcnzoo[keras]",
    "ai_edge_litert": "tcnzoo[litert]",
}

# What `command` runs.
REAL = """\
import numpy as np
from ai_edge_litert.interpreter import Interpreter
run = Interpreter(PATH).get_signature_runner()
names = run.get_input_details()
print(run(**{name: np.load(name + ".npy").astype("float32") for name in names}))
"""
INT8 = """\
import numpy as np
from ai_edge_litert.interpreter import Interpreter
run = Interpreter(PATH).get_signature_runner()
scale, zero = run.get_input_details()["x"]["quantization"]
x = np.clip(np.rint(np.load("x.npy") / scale) + zero, -128, 127).astype("int8")
for name, one in run.get_output_details().items():
    scale, zero = one["quantization"]
    print(name, (run(x=x)[name].astype("float32") - zero) * scale)
"""


# Before the name of a task, of a model with heads.
TASK = "task_"


def export(spec: Spec, weights: Weights, path: Path, options: ExportOptions) -> tuple[str, ...]:
    """Convert a model with the converter of TensorFlow, inputs and outputs as neutral arrays.

    Raises:
        BackendMissing: Keras does not run on TensorFlow.
        SpecError: TensorFlow Lite has no form of the model.
        InputError: representative signals that do not fit.
    """
    signals = _representative(spec, options) if options.precision == "int8" else []
    with converting("TensorFlow Lite", spec):
        _check_engine()
        import tensorflow as tf

        shapes = zip(input_names(spec), input_shapes(spec, options.shape), strict=True)
        wanted = [tf.TensorSpec(shape, tf.float32, name=name) for name, shape in shapes]
        function = tf.function(_body(spec, weights), autograph=False)
        concrete = function.get_concrete_function(*wanted)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module())
        _SETTINGS[options.precision](converter, signals)
        path.write_bytes(converter.convert())
    note = f"takes inputs of shape {options.shape} only"
    return (note, *_float_operators(path)) if options.precision == "int8" else (note,)


def _check_engine() -> None:
    """Raise BackendMissing unless Keras runs on TensorFlow."""
    import keras

    engine = keras.backend.backend()
    if engine != "tensorflow":
        raise BackendMissing(
            f"export to {NAME!r} converts through TensorFlow, but Keras runs on {engine!r}; "
            "set KERAS_BACKEND=tensorflow"
        )


def _body(spec: Spec, weights: Weights) -> Callable[..., Any]:
    """The folded Keras model as a function of neutral tensors, its weights as constants."""
    import keras
    import tensorflow as tf

    folded, effective = fold(spec, weights)
    model = create(folded, "keras", weights=effective)
    values = [(variable, variable.numpy()) for variable in model.variables]

    def last(x: Any) -> Any:
        """Channels last, from (batch, channels[, devices][, time])."""
        axes = range(len(x.shape))
        return tf.transpose(x, (0, *axes[2:], 1)) if len(axes) > 2 else x

    def second(x: Any) -> Any:
        """Channels second again."""
        axes = range(len(x.shape))
        return tf.transpose(x, (0, axes[-1], *axes[1:-1])) if len(axes) > 2 else x

    def body(x: Any, *embeddings: Any) -> dict[str, Any]:
        constants = [(variable, tf.constant(array)) for variable, array in values]
        with keras.StatelessScope(constants):
            beside = [
                row if isinstance(side, MaskSpec) else last(row)
                for side, row in zip(folded.embedding_specs, embeddings, strict=True)
            ]
            y = model(last(x), embeddings=beside, training=False)
        if isinstance(y, dict):
            return {f"{TASK}{name}": second(output) for name, output in y.items()}
        outputs = y if isinstance(y, tuple) else (y,)
        return {name: second(output) for name, output in zip(OUTPUTS, outputs, strict=False)}

    return body


def _representative(spec: Spec, options: ExportOptions) -> list[Array]:
    """The representative signals in batches of the shape that the file takes.

    Raises:
        InputError: no whole batch of such signals.
        SpecError: a model with embeddings, for which there are no representative ones.
    """
    if spec.embedding_specs:
        raise SpecError("int8 has no representative embeddings, but this model takes some")
    signals, batch = options.representative, options.batch_size
    if signals is None or signals.shape[1:] != options.shape[1:] or len(signals) < batch:
        came = "none came" if signals is None else f"{signals.shape} came"
        raise InputError(
            f"int8 needs representative signals of shape {options.shape} or more of them, "
            f"but {came}"
        )
    starts = range(0, len(signals) - batch + 1, batch)
    return [signals[start : start + batch] for start in starts]


def _float32(converter: Any, signals: Sequence[Array]) -> None:
    """As the model is."""


def _float16(converter: Any, signals: Sequence[Array]) -> None:
    """Store weights in float16; they are widened for the computation where it is in float32."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _int8(converter: Any, signals: Sequence[Array]) -> None:
    """Compute in int8, inputs and outputs too, with the ranges that the signals show."""
    import tensorflow as tf

    def representative() -> Iterator[list[Array]]:
        yield from ([signal] for signal in signals)

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8


_SETTINGS = {"float32": _float32, "float16": _float16, "int8": _int8}


def _float_operators(path: Path) -> tuple[str, ...]:
    """A note on the operators of an int8 file that compute in float32, where there are any."""
    interpreter = _interpreter(path)
    types = {entry["index"]: entry["dtype"] for entry in interpreter.get_tensor_details()}
    names = sorted(
        {
            entry["op_name"].lower()
            for entry in interpreter._get_ops_details()
            if any(types.get(index) is np.float32 for index in entry["outputs"])
        }
        - {"dequantize"}
    )
    return (f"computed in float32, having no int8 form: {', '.join(names)}",) if names else ()


def _interpreter(path: Path) -> Any:
    """The runtime with a file loaded."""
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=str(path))


def run(path: Path, x: Array, options: ExportOptions, embeddings: Sequence[Array] = ()) -> Output:
    """Run a file with ai-edge-litert; int8 files are fed, and read, by their own scales."""
    runner = _interpreter(path).get_signature_runner()
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    names = ["x", *(f"embedding_{number}" for number in range(len(embeddings)))]
    feeds = {
        name: _quantised(array, inputs[name])
        for name, array in zip(names, (x, *embeddings), strict=True)
    }
    arrays = runner(**feeds)
    if any(name.startswith(TASK) for name in arrays):
        return {
            name.removeprefix(TASK): _real(array, outputs[name]) for name, array in arrays.items()
        }
    result = {name: _real(arrays[name], outputs[name]) for name in OUTPUTS if name in arrays}
    return result if len(result) > 1 else result["output"]


def _quantised(array: Array, details: Mapping[str, Any]) -> Array:
    """Round real values to the integers of an input; real inputs stay."""
    if details["dtype"] != np.int8:
        return array
    scale, zero = details["quantization"]
    integers: Array = np.clip(np.rint(array / scale) + zero, -128, 127).astype(np.int8)
    return integers


def _real(array: Array, details: Mapping[str, Any]) -> Array:
    """The real values of an output, as a copy."""
    if details["dtype"] != np.int8:
        return np.array(array)
    scale, zero = details["quantization"]
    real: Array = ((array.astype(np.int32) - zero) * scale).astype(np.float32)
    return real


def command(path: Path, options: ExportOptions) -> str:
    """Python with numpy and ai-edge-litert alone; an input is a .npy file of the input's name."""
    code = INT8 if options.precision == "int8" else REAL
    return f"python -c {shlex.quote(code.replace('PATH', json.dumps(str(path))).strip())}"
