"""EEG-like recordings with bursts at known times, and a detector of them whose weights are set."""

import numpy as np

import tcnzoo
from tcnzoo.eeg.recordings import Recording
from tcnzoo.specs.montages import TEN_TWENTY

RATE = 256
NEW_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
BURSTS = ((20.0, 31.0), (52.0, 60.0))
NOISE_UV, BURST_UV, BURST_HZ = 25.0, 220.0, 3.0
# The mean of |x| over a second and all channels is below 1 in noise, and above 1.5 in a burst.
LEVEL, STEEPNESS = 1.2, 12.0


def signal(seconds=75.0, rate=RATE, bursts=BURSTS, seed=0):
    """(19, time) in uV: noise, and in the bursts a 3 Hz oscillation on every channel."""
    generator = np.random.default_rng(seed)
    steps = round(seconds * rate)
    time = np.arange(steps) / rate
    x = generator.normal(0.0, NOISE_UV, (len(TEN_TWENTY), steps))
    for start, stop in bursts:
        inside = (time >= start) & (time < stop)
        phase = generator.uniform(0.0, 2 * np.pi, (len(x), 1))
        x += inside * BURST_UV * np.sin(2 * np.pi * BURST_HZ * time + phase)
    return x


def recording(seconds=75.0, rate=RATE, bursts=BURSTS, seed=0):
    """The same as a Recording."""
    return Recording(signal(seconds, rate, bursts, seed), TEN_TWENTY, float(rate))


def write_edf(path, x, rate=RATE, names=None, others=("ECG EKG-REF",), bdf=False):
    """Write an EDF (or BDF) in 1 s records, channels in reverse order and under other names."""
    import datetime

    import edfio

    kind = (edfio.Bdf, edfio.BdfSignal) if bdf else (edfio.Edf, edfio.EdfSignal)
    if names is None:
        names = [f"EEG {NEW_NAMES.get(name, name).upper()}-REF" for name in TEN_TWENTY]
    rows = [*zip(names, x, strict=True)][::-1]
    rows += [(name, np.sin(np.arange(x.shape[1]))) for name in others]
    limits = {"physical_dimension": "uV", "physical_range": (-3000.0, 3000.0)}
    signals = [kind[1](row, rate, label=name, **limits) for name, row in rows]
    start = {"starttime": datetime.time(9, 30), "data_record_duration": 1}
    kind[0](signals, recording=edfio.Recording(startdate=datetime.date(2024, 5, 6)), **start).write(
        path
    )


def spec(padding="causal", strided=False):
    """|x|, its mean over channels and over the last second, then a line to a logit.

    `strided` takes the mean in 16 steps of 16 samples, and so gives its logits 15 samples late.
    """
    layers = {
        "rectify": {
            "kind": "conv_block",
            "in_channels": 19,
            "out_channels": 38,
            "kernel_size": 1,
            "activation": "relu",
        },
        "sum": {"kind": "conv1d", "in_channels": 38, "out_channels": 1, "kernel_size": 1},
    }
    mean = {"kind": "conv1d", "in_channels": 1, "out_channels": 1}
    if not strided:
        layers["mean"] = {**mean, "kernel_size": 256, "padding": padding}
    else:
        layers["stem"] = {**mean, "kernel_size": 16, "stride": 16, "padding": "valid"}
        layers["mean"] = {**mean, "kernel_size": 16, "padding": padding}
        layers["upsample"] = {"kind": "upsample", "factor": 16}
    return tcnzoo.load_spec({"kind": "sequential", "layers": layers})


def detector(backend="numpy", padding="causal", strided=False):
    """A model of that spec with its weights."""
    described = spec(padding, strided)
    weights = {
        name: np.zeros(param.shape, np.float32) for name, param in described.params().items()
    }
    weights["rectify.conv.weight"][:, :, 0] = np.concatenate([np.eye(19), -np.eye(19)])
    weights["sum.weight"][:] = 1.0 / 19
    if strided:
        weights["stem.weight"][:] = 1.0 / 16
    taps = weights["mean.weight"].shape[2]
    weights["mean.weight"][:] = STEEPNESS / taps
    weights["mean.bias"][:] = -STEEPNESS * LEVEL
    return tcnzoo.create(described, backend, weights=weights)
