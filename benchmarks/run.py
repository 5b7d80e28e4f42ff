"""Run the benchmarks and write JSON, a Markdown table and a chart: `python -m benchmarks all`."""

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from tcnzoo import engines

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "tcnzoo", "torch", "pytorch-tcn", "tensorflow-cpu", "tensorflow", "keras", "keras-tcn", "mlx",
    "numpy", "scipy-openblas32", "transformers",
)  # fmt: skip
# OpenMP threads that spin while they wait make small computations look ten times slower.
QUIET = {"GOMP_SPINCOUNT": "0", "OMP_WAIT_POLICY": "passive", "TF_CPP_MIN_LOG_LEVEL": "3"}
# What a group measures with set in its process.
SETTINGS = {"mlx-own-blas": {"TCNZOO_MLX_BLAS": "0"}}

# Every group, in the order in which they are measured.
ALL = (
    "torch", "streams", "keras", "mlx", "mlx-own-blas", "presets", "big-files", "mamba2", "hsmm",
    "vq", "adapters", "labram", "labram-mlx", "labram-keras", "training",
)  # fmt: skip

app = typer.Typer(add_completion=False)


def machine(name: str | None) -> dict[str, Any]:
    """What the figures were measured on."""
    processor, cores = engines.processor(), os.cpu_count()
    return {
        "name": name or f"{processor}, {cores} cores",
        "processor": processor,
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def versions() -> dict[str, str]:
    """Installed versions of everything that is measured."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def run_group(group: str, device: str | None, budget: float) -> list[dict[str, Any]]:
    """Measure a group in a fresh process."""
    environment = {**os.environ, **QUIET, **SETTINGS.get(group, {})}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "benchmarks", "group", group, str(out)]
        command += ["--budget", str(budget)] + (["--device", device] if device else [])
        subprocess.run(command, env=environment, check=True)
        rows: list[dict[str, Any]] = json.loads(out.read_text())
        return rows


@app.command("group")
def one_group(
    name: str, out: Path, budget: float = 20.0, device: Annotated[str | None, typer.Option()] = None
) -> None:
    """Measure one group in this process and write its rows."""
    from benchmarks.groups import GROUPS

    rows = []
    for result in GROUPS[name](device, budget):
        rows.append(result.to_dict())
        times = ", ".join(f"{who} {one * 1e3:.3g} ms" for who, one in result.seconds.items())
        ratios = ", ".join(f"{one:.2f}x" for one in list(result.ratio.values())[1:])
        typer.echo(f"{name}: {result.net}, {result.task}: {times}; {ratios}", err=True)
    out.write_text(json.dumps(rows))


@app.command("all")
def everything(
    groups: Annotated[str, typer.Option(help="comma-separated")] = ",".join(ALL),
    device: Annotated[str | None, typer.Option(help="cuda, mps, gpu; default: the CPU")] = None,
    budget: Annotated[float, typer.Option(help="seconds for each measurement")] = 20.0,
    name: Annotated[
        str | None, typer.Option(help="how the machine is called in the tables")
    ] = None,
    out: Annotated[str, typer.Option(help="file stem in benchmarks/results")] = "local",
    memory: Annotated[bool, typer.Option(help="measure peak memory too")] = True,
) -> None:
    """Measure groups in turn and write results/<out>.json, .md and .png after each of them.

    Raises:
        typer.Exit: with 1 at the end, where a group has failed; the files have the others.
    """
    document: dict[str, Any] = {
        "machine": machine(name),
        "date": datetime.date.today().isoformat(),
        "versions": versions(),
        "groups": {},
    }
    failed = []
    for group in groups.split(","):
        try:
            rows = run_group(group, device, budget)
        except subprocess.CalledProcessError as error:
            typer.echo(f"group {group} failed with exit code {error.returncode}", err=True)
            failed.append(group)
            continue
        if rows:
            document["groups"][group] = rows
            write(document, out)
    if memory and device is None:
        from benchmarks.memory import table

        os.environ.update(QUIET)
        document["memory"] = table(["pytorch-tcn", "tcnzoo torch", "keras-tcn", "tcnzoo keras"])
        write(document, out)
    if failed:
        typer.echo(f"not measured: {', '.join(failed)}", err=True)
        raise typer.Exit(1)


def write(document: dict[str, Any], out: str) -> None:
    """Write what was measured so far: an interrupted run keeps it."""
    from benchmarks.report import chart, markdown

    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{out}.json").write_text(json.dumps(document, indent=1) + "\n")
    (RESULTS / f"{out}.md").write_text(markdown(document))
    chart(document, RESULTS / f"{out}.png")
    typer.echo(f"wrote {RESULTS / out}.json, .md and .png")
