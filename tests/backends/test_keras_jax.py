"""The Keras backend on Keras's JAX backend: the same cases, in a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = [
    "tests/parity/test_blocks.py",
    "tests/parity/test_tcn.py::test_covering_part_of_the_grid",
    "tests/parity/test_training.py",
    "tests/streaming/test_handover.py::test_state_survives_a_file",
    "tests/training/test_steps.py",
    "tests/checkpoints/test_roundtrip.py::test_set_then_get_gives_the_same_bits",
]


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_parity_cases_on_jax():
    settings = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "TCNZOO_TEST_BACKENDS": "keras"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *CASES],
        cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    header = next(line for line in done.stdout.splitlines() if line.startswith("backends: "))
    assert ", jax " in header
