"""Files of OpenSeizureDetector's events: the signal is a ramp, so a window says where it is."""

import csv
import json
from datetime import datetime, timedelta

import numpy as np

from tcnzoo.training.data.config import OsdData
from tcnzoo.training.data.osd.windows import osd_dataset

BEGIN = datetime(2022, 5, 28, 6)
FORM = "%Y-%m-%dT%H:%M:%SZ"
SIGNS = (1, -1, 2)
HEADER = ["eventId", "userId", "type", "dataTime"]
HEADER += [f"{axis}{place:03d}" for axis in "MXYZ" for place in range(125)]


def point(place, form=FORM):
    """A datapoint that ends 5 s * place after the event: sample k of all is 1000 + k milli-g."""
    ramp = [1000 + 125 * place + step for step in range(125)]
    axes = [sign * value for value in ramp for sign in SIGNS]
    time = (BEGIN + timedelta(seconds=5 * place)).strftime(form)
    return {"dataTime": time, "rawData": ramp, "rawData3D": axes}


def event(count=10, form=FORM, **fields):
    """An event with so many datapoints, a seizure from 10 to 25 s."""
    found = {"id": 1, "userId": 7, "type": "Seizure", "dataTime": BEGIN.strftime(form)}
    points = [point(place, form) for place in range(count)]
    return found | {"seizureTimes": [10, 25], "datapoints": points} | fields


def write_json(path, *events):
    path.write_text(json.dumps(events))
    return str(path)


def csv_line(one, found):
    """The line of a datapoint in flattenData's CSV; what is not there is None."""
    kind = {"seizure": 1, "false alarm": 0, "nda": 0}.get(str(one["type"]).lower(), 2)
    magnitude = found.get("rawData") or [None] * 125
    axes = found.get("rawData3D") or [None] * 375
    head = [one["id"], one["userId"], kind, found.get("dataTime")]
    cells = [*head, *magnitude, *(axes[at] for axis in range(3) for at in range(axis, 375, 3))]
    return ["None" if cell is None else cell for cell in cells]


def write_csv(path, *events):
    """The same events as flattenData writes them: a null datapoint has no line."""
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(HEADER)
        for one in events:
            lines.writerows(csv_line(one, found) for found in one["datapoints"] if found)
    return str(path)


WRITERS = {"json": write_json, "csv": write_csv}


def written(folder, form, *events):
    return WRITERS[form](folder / f"events.{form}", *events)


def dataset(path, window=10.0, **options):
    config = OsdData(path=path, window=window, scale="mg", **options)
    return osd_dataset(config, path)


def starts(found, length=250):
    """At which datapoint each window begins, or None where time does not run on within it."""
    x = found.batch(np.arange(len(found)))["x"][:, 0].astype(np.float64)
    assert x.shape[1] == length
    places = (x[:, 0] - 1000) / 125
    runs_on = (np.diff(x, axis=1) == 1).all(axis=1) & (places == places.round())
    return [int(place) if good else None for place, good in zip(places, runs_on, strict=True)]


def counts(found):
    """Datapoints that are left out, by reason; and that all datapoints are accounted for."""
    facts = found.describe()
    lost = {reason: one["datapoints"] for reason, one in facts["left_out"].items()}
    assert facts["datapoints"] + sum(lost.values()) == facts["read"]["datapoints"]
    return lost
