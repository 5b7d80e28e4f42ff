"""Simulated events of several users, as OpenSeizureDetector would have recorded them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, get_args

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.training.data.config import EventsData
from tcnzoo.training.data.movements import (
    RATE,
    Activity,
    Habits,
    draw_habits,
    move,
    smooth,
)
from tcnzoo.training.data.osd.datapoints import NEGATIVE, POSITIVE, SAMPLES, Row
from tcnzoo.training.data.osd.windows import windows_of
from tcnzoo.training.data.windows import WindowDataset

GRAVITY = 1000.0
# Range of the sensor of a watch, in milli-g.
LIMIT = 4000.0
SECONDS = (60.0, 110.0)
BEGIN = datetime(2024, 1, 1, 8, 0, 0)
APART = timedelta(hours=1)


class Kind(NamedTuple):
    """An activity in the database: type, subtype, class, and the watch's alarm state."""

    type: str
    subtype: str
    label: int
    alarm: int


KINDS: dict[Activity, Kind] = {
    "tonic-clonic": Kind("Seizure", "Tonic-Clonic", POSITIVE, 2),
    "walking": Kind("NDA", "Walking", NEGATIVE, 0),
    "tooth-brushing": Kind("False Alarm", "Brushing Teeth", NEGATIVE, 2),
    "rest": Kind("NDA", "Rest", NEGATIVE, 0),
}


@dataclass(frozen=True)
class SimulatedEvent:
    """One event.

    Attributes:
        number: its id.
        user: number of the user.
        activity: what the user does.
        begin: when.
        axes: (3, steps) whole milli-g, gravity included.
        seizure: first and last second of a seizure in it.
    """

    number: int
    user: int
    activity: Activity
    begin: datetime
    axes: Array
    seizure: tuple[float, float] | None

    @property
    def kind(self) -> Kind:
        """The activity in the words of the database."""
        return KINDS[self.activity]

    @property
    def magnitude(self) -> Array:
        """Length of the acceleration, (steps,), whole milli-g."""
        magnitude: Array = np.rint(np.sqrt((self.axes.astype(np.float64) ** 2).sum(axis=0)))
        return magnitude.astype(np.int32)

    @property
    def datapoints(self) -> range:
        """First step of each datapoint of 5 s."""
        return range(0, self.axes.shape[1], SAMPLES)

    def time_of(self, first: int) -> datetime:
        """When a datapoint is complete."""
        return self.begin + timedelta(seconds=(first + SAMPLES) / RATE)


def simulate(users: int, events: int, seed: int) -> Iterator[SimulatedEvent]:
    """Make events of four activities: tonic-clonic seizures, walking, tooth-brushing and rest.

    Args:
        users: each with habits of their own; the first ones are the same for any number of users.
        events: of each user and activity.
        seed: the same one gives the same events.
    """
    activities = get_args(Activity)
    for user in range(users):
        rng = np.random.Generator(np.random.PCG64([seed, user]))
        habits = draw_habits(rng)
        for index in range(events * len(activities)):
            number = 1 + user * events * len(activities) + index
            activity = activities[index % len(activities)]
            yield _event(number, user + 1, activity, habits, rng)


def events_dataset(config: EventsData) -> WindowDataset:
    """The windows of simulated events, the same as from the files that `tcnzoo simulate` writes."""
    made = simulate(config.users, config.events, config.simulation_seed)
    unplaced = (row for event in made for row in _rows(event, config.signal))
    placed = (row._replace(position=position) for position, row in enumerate(unplaced))
    return windows_of(placed, config, "the simulation")


def _event(
    number: int, user: int, activity: Activity, habits: Habits, rng: np.random.Generator
) -> SimulatedEvent:
    """One event, of whole datapoints."""
    steps = round(rng.uniform(*SECONDS) * RATE / SAMPLES) * SAMPLES
    movement, seizure = move(activity, habits, steps, rng)
    drift = np.stack([smooth(rng, steps, 20.0) for _ in range(3)])
    pull = habits.posture[:, None] + 0.12 * drift
    pull /= np.linalg.norm(pull, axis=0)
    axes = GRAVITY * pull + movement + habits.noise * rng.standard_normal((3, steps))
    whole = np.rint(np.clip(axes, -LIMIT, LIMIT)).astype(np.int32)
    return SimulatedEvent(number, user, activity, BEGIN + number * APART, whole, seizure)


def _rows(event: SimulatedEvent, signal: str) -> Iterator[Row]:
    """The datapoints of an event, as in a file of it."""
    samples = event.magnitude[None] if signal == "magnitude" else event.axes
    for first in event.datapoints:
        seconds = (first + SAMPLES) / RATE
        span = event.seizure
        yield Row(
            event=str(event.number),
            user=str(event.user),
            label=event.kind.label,
            samples=samples[:, first : first + SAMPLES].astype(np.float32),
            in_seizure=None if span is None else round(span[0]) <= seconds <= round(span[1]),
            time=event.time_of(first).replace(tzinfo=UTC),
        )
