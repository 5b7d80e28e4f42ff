"""The command `simulate`: accelerometer events as files."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from tcnzoo.cli import console
from tcnzoo.cli.options import Json, Overwrite
from tcnzoo.files.atomic import check_destination, refuse_existing, replacing_in

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Gets events.csv and events.json.")]
Users = Annotated[int, typer.Option(min=1, help="Each has habits of their own.")]
Events = Annotated[int, typer.Option(min=1, help="Of each user and each of four activities.")]
Seed = Annotated[int, typer.Option(min=0, help="The same one gives the same events.")]


def simulate(
    folder: Folder,
    users: Users = 12,
    events: Events = 4,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make wrist events (seizure, walking, tooth-brushing, rest) in the OSD formats."""
    from tcnzoo.training.data.event_files import write_csv, write_json
    from tcnzoo.training.data.events import simulate as make

    files = {"csv": folder / "events.csv", "json": folder / "events.json"}
    for path in files.values():
        check_destination(path)
        if not overwrite:
            refuse_existing(path)
    made = list(make(users, events, seed))
    with console.working("writing"), replacing_in(folder) as fresh:
        write_csv(fresh / files["csv"].name, made)
        write_json(fresh / files["json"].name, made)
    count = Counter(event.activity for event in made)
    datapoints = sum(len(event.datapoints) for event in made)
    if as_json:
        names = {name: str(path) for name, path in files.items()}
        console.show_json({"users": users, "events": count, "datapoints": datapoints} | names)
        return
    console.facts(
        {
            "events": ", ".join(f"{number} {name}" for name, number in count.items()),
            "users": str(users),
            "datapoints": f"{datapoints:,} of 5 s",
            "files": ", ".join(map(str, files.values())),
        }
    )
