"""What the core answers for a backend: kinds and devices that it lacks, and parts it leaves out."""

import numpy as np
import pytest

import tcnzoo
from tcnzoo.models import backend as backends_of
from tcnzoo.models.backend import block_class, check_device

GLU = {"kind": "glu"}


def test_a_kind_that_a_backend_lacks_is_named():
    spec = tcnzoo.load_spec(GLU)
    assert block_class({"glu": object}, spec, "mlx") is object
    with pytest.raises(tcnzoo.SpecError, match="^backend 'mlx' has no block of kind 'glu'$"):
        block_class({}, spec, "mlx")


@pytest.mark.parametrize(
    "known, sentence",
    [
        (("cpu",), "backend 'x' runs on 'cpu' only, not on 'tpu'"),
        (("cpu", "gpu"), "backend 'x' runs on 'cpu' or 'gpu', not on 'tpu'"),
    ],
)
def test_a_device_that_a_backend_lacks_is_named(known, sentence):
    check_device("x", None, known)
    check_device("x", "cpu", known)
    with pytest.raises(tcnzoo.InputError, match=f"^{sentence}$"):
        check_device("x", "tpu", known)


def test_what_a_backend_may_leave_out():
    plain = backends_of.get_backend("numpy")
    model = tcnzoo.create(GLU, "numpy", dtype="float64")
    assert backends_of.dtype_of(model) == "float64"
    assert backends_of.activation_bytes(model, np.zeros((1, 2, 3))) is None
    assert backends_of.device_peak(model) is None
    with pytest.raises(tcnzoo.InputError, match="^backend 'numpy' does not train$"):
        backends_of.stepper_of(plain)
    with pytest.raises(tcnzoo.InputError, match="backend 'numpy' has no option 'tf32'"):
        tcnzoo.create(GLU, "numpy", tf32=True)


def test_a_dtype_that_a_model_cannot_read_codes_in_is_refused(native):
    spec = {"kind": "hsmm", "states": 2, "max_duration": 3, "emission": "categorical"}
    with pytest.raises(tcnzoo.SpecError, match=r"^hsmm: codes up to 257 come as numbers"):
        tcnzoo.create({**spec, "codes": 258}, native, dtype="bfloat16")
    tcnzoo.create({**spec, "codes": 258, "encoding": "one_hot"}, native, dtype="bfloat16")
