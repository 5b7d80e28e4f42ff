"""What a graph computes, by its own runtime and by what was read from it."""

import numpy as np

import tcnzoo

LENGTH = 12
# float32 against float64; a graph that was changed may have values of any size.
TOLERANCE = 1e-3


def _session(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])


def difference(path, model, channels):
    """What is wrong with a model that was read from a graph; None where nothing can be said."""
    x = np.random.default_rng(0).standard_normal((2, channels, LENGTH)).astype(np.float32)
    try:
        session = _session(path)
        expected = session.run(None, {session.get_inputs()[0].name: x})
        found = tcnzoo.predict(model, x)
    except Exception:  # neither of them has to run a graph that is broken
        return None
    outputs = list(found.values()) if isinstance(found, dict) else [found]
    if [one.shape for one in outputs] != [one.shape for one in expected]:
        return f"gives {[one.shape for one in outputs]}, not {[one.shape for one in expected]}"
    for one, other in zip(outputs, expected, strict=True):
        scale = max(1.0, float(np.nanmax(np.abs(other), initial=0.0)))
        if (
            np.isfinite(other).all()
            and not np.abs(one - other).max(initial=0.0) <= TOLERANCE * scale
        ):
            return f"gives {one.ravel()[:4]}, not {other.ravel()[:4]}"
    return None
