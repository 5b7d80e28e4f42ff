"""A simulator of two body-worn sensors: bouts of lying, walking and trotting, with known labels.

Every animal has a gait of its own: each axis of each device moves with the stride and its second
harmonic, in fixed proportions for each activity. Each recording has a draw of its own of what a
detector must not depend on: a constant offset of each axis and device, as sensors are mounted, and
the phase.
"""

from dataclasses import dataclass

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError

ACTIVITIES = ("lying", "walking", "trotting")
AXES, DEVICES = 9, 2
RATE = 25.0  # Hz

# Strides a second, and the spread of a bout's stride around them.
STRIDE = {"lying": 0.0, "walking": 1.6, "trotting": 2.9}
STRIDE_SPREAD = 0.06
# Size of the movement: accelerometer in g, gyroscope in rad/s, magnetometer relative to its field.
SIZE = {"lying": 0.02, "walking": 0.45, "trotting": 1.1}
KIND_SIZE = (1.0, 1.2, 0.25)
# Mean length of a bout in steps, and the number of geometric parts that its spread comes of.
MEAN_STEPS = {"lying": 70.0, "walking": 45.0, "trotting": 28.0}
PARTS = 6
SHORTEST = 8
# Deviation of a device's mounting, in the same units as the movement.
OFFSET = 0.3
# Seed of the gaits: equal in all recordings, as one animal's are.
GAIT = 20_260


@dataclass(frozen=True)
class Recording:
    """A simulated recording.

    Attributes:
        signal: (9 axes, 2 devices, time), float32: accelerometer, gyroscope and magnetometer, x, y
            and z each.
        labels: (time,), index into ACTIVITIES.
        rate: steps a second.
    """

    signal: Array
    labels: Array
    rate: float = RATE


def simulate(steps: int, seed: int, noise: float = 0.15) -> Recording:
    """Make a recording.

    Args:
        steps: its length.
        seed: of bouts, phases, offsets and noise; the gaits are always the same.
        noise: deviation of what is added to each value, in the units of SIZE.
    Raises:
        InputError: fewer steps than one, or a negative noise.
    """
    if steps < 1:
        raise InputError(f"a recording must have at least 1 step, but {steps} were asked for")
    if noise < 0:
        raise InputError(f"noise must be at least 0, but is {noise}")
    rng = np.random.default_rng([seed, steps])
    labels = _labels(steps, rng)
    signal = _movement(labels, rng)
    signal += rng.normal(0.0, OFFSET, (AXES, DEVICES, 1))
    signal += rng.normal(0.0, noise, signal.shape) if noise else 0.0
    return Recording(signal.astype(np.float32), labels)


def bout_steps(activity: str, rng: np.random.Generator) -> int:
    """Length of a bout: SHORTEST and a negative binomial number of steps."""
    mean = MEAN_STEPS[activity] - SHORTEST
    return SHORTEST + int(rng.negative_binomial(PARTS, PARTS / (PARTS + mean)))


def _labels(steps: int, rng: np.random.Generator) -> Array:
    """Bouts one after the other, never two of one activity."""
    labels = np.empty(steps, dtype=np.int64)
    now, activity = 0, int(rng.integers(len(ACTIVITIES)))
    while now < steps:
        length = bout_steps(ACTIVITIES[activity], rng)
        labels[now : now + length] = activity
        now += length
        others = [other for other in range(len(ACTIVITIES)) if other != activity]
        activity = int(rng.choice(others))
    return labels


def _movement(labels: Array, rng: np.random.Generator) -> Array:
    """Movement of each axis and device, (9, 2, time), float64."""
    gait = np.random.default_rng(GAIT)
    shape = (len(ACTIVITIES), AXES, DEVICES)
    sizes = np.repeat(KIND_SIZE, 3)[:, None] * gait.uniform(0.4, 1.0, shape)
    first, second = gait.uniform(0.0, 2 * np.pi, (2, *shape))
    share = gait.uniform(0.2, 0.7, shape)
    posture = gait.normal(0.0, 0.5, shape)
    signal = np.empty((AXES, DEVICES, len(labels)))
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        which = int(labels[start])
        name = ACTIVITIES[which]
        stride = STRIDE[name] * (1.0 + rng.normal(0.0, STRIDE_SPREAD))
        turn = 2 * np.pi * (stride * np.arange(stop - start) / RATE + rng.uniform())
        wave = np.sin(turn + first[which, ..., None])
        wave += share[which, ..., None] * np.sin(2 * turn + second[which, ..., None])
        signal[..., start:stop] = SIZE[name] * sizes[which, ..., None] * wave
        signal[..., start:stop] += posture[which, ..., None]
    return signal
