"""Every test of streams runs with the backends' own steps and with the compiled engine."""

import importlib.util

import pytest

from tcnzoo import engines

COMPILED = "compiled"
ENGINES = [engines.PLAIN]
if importlib.util.find_spec("numba") is not None:
    ENGINES.append(COMPILED)


@pytest.fixture(autouse=True, params=ENGINES)
def engine(request, monkeypatch):
    """The engine that is taken wherever it is offered."""
    monkeypatch.setenv(engines.ENGINE, request.param)
    return request.param
