"""Mutations of OSDB's JSON: all of it, or all but the samples, so that windows can be checked."""

import json

from tests.fuzzing import by_json


def _events(path):
    """The events of a file, and whether there is one a line."""
    text = path.read_text("utf-8")
    if path.suffix == ".json":
        return json.loads(text), False
    return [json.loads(line) for line in text.split("\n") if line.strip()], True


def _write(path, events, lines):
    text = "\n".join(map(json.dumps, events)) if lines and isinstance(events, list) else None
    path.write_text(json.dumps(events) if text is None else text, "utf-8")


def anything(path, choice, trap):
    events, _ = _events(path)
    content, how = by_json.text_of(events, choice)
    path.write_bytes(content)
    return how


def all_but_samples(path, choice, trap):
    events, lines = _events(path)
    held = [point for event in events for point in event["datapoints"]]
    at = {point["dataTime"]: point for point in held}
    for event in events:
        event["datapoints"] = [{"dataTime": point["dataTime"]} for point in event["datapoints"]]
    changed, how = by_json.changed(events, choice)
    for event in changed if isinstance(changed, list) else ():
        points = event.get("datapoints") if isinstance(event, dict) else None
        for place, point in enumerate(points if isinstance(points, list) else ()):
            if isinstance(point, dict):
                kept = at.get(str(point.get("dataTime")), held[place % len(held)])
                point.update({name: kept[name] for name in ("rawData", "rawData3D")})
    _write(path, changed, lines)
    return how


def order(path, choice, trap):
    """Datapoints shuffled, repeated, dropped or null; events doubled or alone."""
    events, lines = _events(path)
    event = choice.choice(events)
    points = event["datapoints"]
    how = choice.choice(("shuffle", "repeat", "drop", "null", "event", "time", "single"))
    place = choice.randrange(len(points))
    if how == "shuffle":
        choice.shuffle(points)
    elif how == "repeat":
        points.insert(choice.randrange(len(points)), points[place])
    elif how == "drop":
        del points[place]
    elif how == "null":
        points[place] = None
    elif how == "event":
        events.insert(0, event)
    elif how == "single":
        events = event
    else:
        points[place]["dataTime"] = choice.choice(TIMES)
    _write(path, events, lines)
    return how


# Far from the event: a datapoint that is moved within it would rightly be joined to its neighbour.
TIMES = (
    "2022-05-28T09:00:00+01:00", "2022-05-28T09:00:00.123456789Z", "28-05-2022 09:00:00", "", None,
    "9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+23:59", "2022-02-30T09:00:00Z", "x" * 3000, 0,
    "2022-05-28T09:00:00+99:99", "2022-05-28 09:00:00 Z", "9" * 400,
)  # fmt: skip


def odd(path, choice, trap):
    """A number or string that is odd in itself, mostly not a sample."""
    events, lines = _events(path)
    held = [event.pop("datapoints") for event in events] if choice.random() < 0.7 else None
    changed, how = by_json.odd(events, choice)
    for event, points in zip(changed, held or (), strict=False):
        if isinstance(event, dict):
            event["datapoints"] = points
    _write(path, changed, lines)
    return how


STRUCTURAL = (
    odd,
    odd,
    odd,
    anything,
    anything,
    all_but_samples,
    all_but_samples,
    all_but_samples,
    order,
    order,
)
