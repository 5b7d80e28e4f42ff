"""Every test of streams runs with the backends' own steps and with the compiled engine."""

import importlib.util

import pytest

from tcnzoo import engines

COMPILED = "compiled"
# MLX and Keras give the compiled engine their weights and states, which is what these files test;
# that it computes rightly, numpy and torch test in all files.
HANDED_OVER = ("test_chunks", "test_handover")
ENGINES = [engines.PLAIN]
if importlib.util.find_spec("numba") is not None:
    ENGINES.append(COMPILED)


@pytest.fixture(autouse=True, params=ENGINES)
def engine(request, monkeypatch):
    """The engine that is taken wherever it is offered."""
    monkeypatch.setenv(engines.ENGINE, request.param)
    return request.param


def pytest_collection_modifyitems(config, items):
    """Leave out what MLX and Keras would only repeat."""
    repeated = [item for item in items if _repeats(item)]
    config.hook.pytest_deselected(items=repeated)
    left_out = set(repeated)
    items[:] = [item for item in items if item not in left_out]


def _repeats(item):
    """Whether a test of streams is the compiled engine's, which another backend runs as well."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return (
        item.path.parent.name == "streaming"
        and params.get("engine") == COMPILED
        and params.get("backend") in ("mlx", "keras")
        and item.path.stem not in HANDED_OVER
    )
