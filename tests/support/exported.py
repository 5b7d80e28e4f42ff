"""Writing a model with an exporter and running it, for the tests of each."""

import numpy as np

import tcnzoo
from tcnzoo.runtimes.protocol import ExportOptions, get_exporter
from tests.support.compare import beside, in_order, noise, reference, weights_of


def options_for(shape, **options):
    """Options for inputs of one shape, (batch, channels[[, devices], time])."""
    batch, channels, *time = shape
    length = time[-1] if time else None
    devices = time[0] if len(time) == 2 else None
    return ExportOptions(channels, length, batch_size=batch, devices=devices, **options)


def written(to, spec, shape, folder, **options):
    """Write a model with weights that hide nothing; return (path, options)."""
    spec, settled = tcnzoo.load_spec(spec), options_for(shape, **options)
    exporter = get_exporter(to)
    path = folder / f"model{exporter.SUFFIX}"
    exporter.export(spec, weights_of(spec), path, settled)
    return path, settled


def ran(to, spec, path, options, shape):
    """Outputs for noise of `shape`: (the written file's, the float64 reference's)."""
    x = noise(*shape).astype(np.float32)
    inputs = beside(spec, shape)
    rows = [row.astype(np.float32) for row in in_order(spec, inputs)]
    found = get_exporter(to).run(path, x, options, *([rows] if rows else []))
    expected = tcnzoo.predict(reference(spec, weights_of(spec)), x, **inputs)
    if isinstance(found, dict) and isinstance(expected, dict):
        assert found.keys() == expected.keys()
        found = {name: found[name] for name in expected}  # LiteRT sorts its outputs by name
    if options.streaming and isinstance(expected, dict):
        expected = expected["output"]
    return found, expected
