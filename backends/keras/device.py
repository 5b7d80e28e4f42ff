"""Devices and float types of the Keras backend that is in use."""

import keras

from tcnzoo.errors import InputError


def devices() -> tuple[str, ...]:
    """Names of the devices that are there: `cpu:0`, `gpu:0`..."""
    if keras.backend.backend() == "torch":
        import torch

        names = [f"gpu:{index}" for index in range(torch.cuda.device_count())]
        names += ["mps:0"] * torch.backends.mps.is_available()
    else:
        names = keras.distribution.list_devices()
    return ("cpu:0", *(name for name in names if not name.startswith("cpu")))


def full_name(device: str) -> str:
    """The full name of a device; `cuda` stands for `gpu`, and index 0 may be left out.

    Raises:
        InputError: there is no such device.
    """
    name = device.lower().replace("cuda", "gpu")
    name = name if ":" in name else f"{name}:0"
    if name not in devices():
        raise InputError(f"backend 'keras' has {', '.join(devices())} here, but not {device!r}")
    return name


def dtypes() -> tuple[str, ...]:
    """Float types that can be computed: Keras rounds float64 to float32 except on TensorFlow."""
    names = ("float32", "bfloat16", "float16")
    kept = keras.backend.result_type("float64", "float64") == "float64"
    return (*names, "float64") if kept else names
