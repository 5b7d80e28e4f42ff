"""Simulated bouts of behaviour, recorded by two body-worn sensors, in windows."""

import numpy as np

from tcnzoo.training.data.config import BoutsData
from tcnzoo.training.data.dataset import ArrayDataset
from tcnzoo.training.data.simulator import ACTIVITIES, simulate


def bouts_dataset(config: BoutsData) -> ArrayDataset:
    """Windows of simulated recordings, with the activity of each step.

    Args:
        config: how many recordings of how many windows.
    Returns:
        `x` (window, 9, 2, time) and `y` (window, time); a recording is a group.
    """
    steps = config.windows * config.window
    made = [
        simulate(steps, config.simulation_seed + number, config.noise)
        for number in range(config.recordings)
    ]
    x = [recording.signal.reshape(9, 2, config.windows, config.window) for recording in made]
    y = [recording.labels.reshape(config.windows, config.window) for recording in made]
    names = [f"recording {number}" for number in range(config.recordings)]
    return ArrayDataset(
        {
            "x": np.concatenate([np.moveaxis(windows, 2, 0) for windows in x]),
            "y": np.concatenate(y),
        },
        classes=ACTIVITIES,
        groups=np.repeat(names, config.windows),
    )
