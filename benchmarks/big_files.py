"""A checkpoint of 1 GiB in shards, converted: time beside copying its files, and peak memory.

`python -m benchmarks.big_files SOURCE TARGET FORMAT [SIZE]` converts once and prints the peak of
its process in MiB.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tcnzoo
from benchmarks.timing import Result, interleaved
from tcnzoo.checkpoints.directory import open_checkpoint, write_checkpoint
from tcnzoo.files.lazy import Facts, LazyTensors

WIDTH, KERNEL, LAYERS = 2048, 8, 8
SHARD = "300MB"
# Source, copy, target, and what the target replaces.
ROOM = 5 * 2**30
# Target, its format, and the size of its shards.
TASKS = {
    "to MLX, one .safetensors": ("out.safetensors", "mlx", ""),
    "to a directory, other shards": ("out", "tcnzoo", "500MB"),
}


def write_source(folder: Path) -> None:
    """Write eight convolutions of 128 MiB each; that the kernels are equal, no file system sees."""
    conv = {"kind": "conv1d", "in_channels": WIDTH, "out_channels": WIDTH, "kernel_size": KERNEL}
    layers = {f"conv{place}": conv for place in range(LAYERS)}
    spec = tcnzoo.load_spec({"kind": "sequential", "layers": layers})
    table = spec.params()
    noise = np.random.default_rng(0).standard_normal(WIDTH * WIDTH * KERNEL, dtype=np.float32)
    facts = {name: Facts(param.shape, noise.dtype) for name, param in table.items()}
    weights = LazyTensors(facts, lambda name: noise[: facts[name].size].reshape(facts[name].shape))
    write_checkpoint(folder, spec, weights, max_shard_size=SHARD)


def copy(source: Path, target: Path) -> None:
    """Copy a folder and wait until it is on disk, as a conversion does."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for path in sorted(source.iterdir()):
        shutil.copyfile(path, target / path.name)
        with (target / path.name).open("rb") as file:
            os.fsync(file.fileno())


def convert(source: Path, target: Path, to_format: str, size: str) -> None:
    """Convert to a target that is not there."""
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    tcnzoo.convert(source, target, to_format=to_format, max_shard_size=size or None)


def peak_mib() -> float:
    """Largest resident size of this process, in MiB, pages of mapped files among it.

    On Linux not from getrusage, which hands down the peak of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def big_files_group(device: str | None, budget: float) -> Iterator[Result]:
    """Conversions beside a copy of the same files; the memory stands in the note."""
    with tempfile.TemporaryDirectory() as name:
        if shutil.disk_usage(name).free < ROOM:
            print(f"big-files: left out, {name} has less than 5 GiB (set TMPDIR)", file=sys.stderr)
            return
        folder = Path(name)
        source = folder / "source"
        write_source(source)
        largest = max(one.nbytes for one in open_checkpoint(source)[1].facts.values()) / 2**20
        for task, (target, to_format, size) in TASKS.items():
            options: tuple[Any, ...] = (source, folder / target, to_format, size)
            command = [sys.executable, "-m", "benchmarks.big_files", *map(str, options)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peak = float(json.loads(done.stdout))
            seconds, ratio, rounds = interleaved(
                {
                    "copy": lambda: copy(source, folder / "copy"),
                    "tcnzoo convert": lambda options=options: convert(*options),  # type: ignore[misc]
                },
                budget=budget,
            )
            limit = 1.5 * largest + 300
            note = f"peak {peak:.0f} MiB; 1.5 x largest tensor + 300 is {limit:.0f}"
            yield Result("1 GiB in shards", task, "cpu", seconds, ratio, rounds, 1, note)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5])
    print(json.dumps(peak_mib()))
