"""How a wrist moves: acceleration without gravity, in milli-g, (3, steps) at 25 Hz.

Frequencies and courses follow common descriptions: tonic stiffening with a fine tremor, then clonic
jerks that slow down; steps of walking near 2 Hz; brushing strokes of 3 to 5 Hz, which a wrist
detector takes for a seizure most easily. The ranges are chosen, not measured.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tcnzoo.arrays import Array

Generator = np.random.Generator
Activity = Literal["tonic-clonic", "walking", "tooth-brushing", "rest"]

RATE = 25.0
BREATH_HZ = 0.25


@dataclass(frozen=True)
class Habits:
    """The movements of one user.

    Attributes:
        posture: how the wrist hangs, the direction of gravity, (3,).
        main: direction of most movement, (3,).
        noise: deviation of the sensor, in milli-g.
        cadence: steps while walking, in Hz.
        swing: of the arm while walking, in milli-g.
        brushing: strokes, in Hz.
        stroke: of the brush, in milli-g.
        jerk: of a clonic jerk, in milli-g.
        clonic: jerks at the beginning and at the end of the clonic phase, in Hz.
        tremor: of the tonic phase, in Hz.
    """

    posture: Array
    main: Array
    noise: float
    cadence: float
    swing: float
    brushing: float
    stroke: float
    jerk: float
    clonic: tuple[float, float]
    tremor: float


def draw_habits(rng: Generator) -> Habits:
    """The habits of a new user."""
    return Habits(
        posture=direction(rng),
        main=direction(rng),
        noise=rng.uniform(6.0, 14.0),
        cadence=rng.uniform(1.6, 2.2),
        swing=rng.uniform(120.0, 380.0),
        brushing=rng.uniform(3.0, 5.0),
        stroke=rng.uniform(200.0, 600.0),
        jerk=rng.uniform(700.0, 1800.0),
        clonic=(rng.uniform(4.0, 5.5), rng.uniform(1.0, 2.0)),
        tremor=rng.uniform(7.0, 10.0),
    )


def direction(rng: Generator) -> Array:
    """A unit vector, evenly distributed, (3,)."""
    vector = rng.standard_normal(3)
    unit: Array = vector / np.linalg.norm(vector)
    return unit


def move(
    activity: Activity, habits: Habits, steps: int, rng: Generator
) -> tuple[Array, tuple[float, float] | None]:
    """One event.

    Args:
        activity: what the user does.
        habits: of the user.
        steps: of the event.
        rng: of the event.
    Returns:
        acceleration (3, steps) and, of a seizure, its first and last second in the event.
    """
    time = np.arange(steps) / RATE
    if activity == "tonic-clonic":
        return _seizure(habits, time, rng)
    if activity == "walking":
        return _walking(habits, time, rng), None
    if activity == "tooth-brushing":
        return _brushing(habits, time, rng), None
    return _resting(habits, time, rng), None


def smooth(rng: Generator, steps: int, seconds: float) -> Array:
    """Noise of deviation 1 that changes within about so many seconds, (steps,)."""
    knots = max(4, int(steps / (seconds * RATE)) + 4)
    values = rng.standard_normal(knots)
    noise: Array = np.interp(np.linspace(0.0, knots - 1.0, steps), np.arange(knots), values)
    return noise


def _along(axis: Array, course: Array, rng: Generator) -> Array:
    """A movement along an axis, with a part of it along the others, (3, steps)."""
    aside = 0.25 * rng.standard_normal(3)
    moved: Array = (axis + aside)[:, None] * course
    return moved


def _phase(frequency: Array, rng: Generator) -> Array:
    """Cycles gone since the start, for a frequency (steps,) that changes."""
    phase: Array = np.cumsum(frequency) / RATE + rng.random()
    return phase


def _seizure(
    habits: Habits, time: Array, rng: Generator
) -> tuple[Array, tuple[float, float] | None]:
    """Rest, tonic tremor, clonic jerks that slow down, and stillness after it."""
    begin = rng.uniform(3.0, 8.0)
    clonic = begin + rng.uniform(8.0, 15.0)
    end = time[-1] - rng.uniform(8.0, 15.0)
    tonic = _ramp(time, begin, clonic)
    tremor = rng.uniform(80.0, 250.0) * (0.4 + 0.6 * tonic)
    frequency = habits.tremor * (1.0 + 0.05 * smooth(rng, time.size, 2.0))
    course = np.where(
        (time >= begin) & (time < clonic),
        tremor * np.sin(2.0 * np.pi * _phase(frequency, rng)),
        0.0,
    )
    share = _ramp(time, clonic, end)
    slowing = habits.clonic[0] + (habits.clonic[1] - habits.clonic[0]) * share
    phase = _phase(slowing * (1.0 + 0.08 * smooth(rng, time.size, 1.5)), rng)
    strength = habits.jerk * (1.0 - 0.4 * share) * (1.0 + 0.25 * smooth(rng, time.size, 1.0))
    # A jerk is a short flexion and a weaker way back; its sharpness puts power above its own rate.
    jerks = np.sin(2.0 * np.pi * phase)
    jerks = np.where(jerks > 0.0, jerks**3, 0.5 * jerks)
    course = course + np.where((time >= clonic) & (time < end), strength * jerks, 0.0)
    still = _resting(habits, time, rng, stirring=False)
    return _along(habits.main, course, rng) + still, (float(begin), float(end))


def _ramp(time: Array, begin: float, end: float) -> Array:
    """From 0 at `begin` to 1 at `end`."""
    ramp: Array = np.clip((time - begin) / (end - begin), 0.0, 1.0)
    return ramp


def _walking(habits: Habits, time: Array, rng: Generator) -> Array:
    """Heel strikes with overtones, and the arm's swing at half their rate."""
    phase = _phase(habits.cadence * (1.0 + 0.03 * smooth(rng, time.size, 4.0)), rng)
    pace = np.clip(1.0 + 0.2 * smooth(rng, time.size, 8.0), 0.3, 1.7)
    strikes = np.sin(2.0 * np.pi * phase) + 0.4 * np.sin(4.0 * np.pi * phase + 0.8)
    swing = np.sin(np.pi * phase)
    moved = _along(habits.main, 0.7 * strikes, rng) + _along(habits.posture, swing, rng)
    walk: Array = habits.swing * pace * moved
    return walk


def _brushing(habits: Habits, time: Array, rng: Generator) -> Array:
    """Strokes, with short breaks between one part of the teeth and the next."""
    phase = _phase(habits.brushing * (1.0 + 0.08 * smooth(rng, time.size, 3.0)), rng)
    at_work = np.clip(2.0 + 2.0 * smooth(rng, time.size, 2.5), 0.0, 1.0)
    pressure = np.clip(1.0 + 0.25 * smooth(rng, time.size, 5.0), 0.3, 1.8)
    strokes = np.sin(2.0 * np.pi * phase) + 0.2 * np.sin(4.0 * np.pi * phase)
    return _along(habits.main, habits.stroke * at_work * pressure * strokes, rng)


def _resting(habits: Habits, time: Array, rng: Generator, stirring: bool = True) -> Array:
    """Breathing, and now and then a turn of the arm."""
    breath = rng.uniform(3.0, 9.0) * np.sin(2.0 * np.pi * (BREATH_HZ * time + rng.random()))
    still = _along(habits.posture, breath, rng)
    for _ in range(rng.poisson(time[-1] / 30.0) if stirring else 0):
        moment, width = rng.uniform(0.0, time[-1]), rng.uniform(0.3, 1.0)
        bump = rng.uniform(80.0, 400.0) * np.exp(-0.5 * ((time - moment) / width) ** 2)
        still = still + _along(direction(rng), bump, rng)
    return still
