"""Peak memory of a forward pass and of a training step, each in a fresh process."""

import json
import resource
import subprocess
import sys
from typing import Any

from benchmarks import nets, tasks
from benchmarks.nets import LONG, NETS
from benchmarks.streams import STREAMS, blocks_only, plain

STREAMS_TASK = f"{STREAMS} streams"
CHECKPOINTING = ", checkpointing"


def _peak_mib() -> float:
    """Largest resident size so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 1024**2


def growth(contender: str, net: str, task: str, steps: int) -> float:
    """MiB by which one contender's first calls of a task raise the peak of this process."""
    one = NETS[net]
    if task == STREAMS_TASK:
        return streams_growth(one, contender, steps)
    x = tasks.signal(steps)
    library, _, framework = contender.partition(" ")
    if contender.endswith(CHECKPOINTING):
        model, framework = nets.checkpointed(one, None), "torch"
    else:
        model = nets.ours(one, framework, None) if library == "tcnzoo" else _peer(contender, one)
    run = _call(framework or {"keras-tcn": "keras"}.get(contender, "torch"), task, model, x)
    before = _peak_mib()
    run()
    run()
    return _peak_mib() - before


def streams_growth(net: nets.Net, contender: str, steps: int) -> float:
    """MiB that the state of 64 streams and what steps them take, beside one stream that has run.

    The weights of the model are there before. What a process needs once to step any stream (code,
    its compilation) is there too, as one stream has taken a step.
    """
    model = nets.ours(blocks_only(net), contender.split()[1].rstrip(","), None)
    tasks.our_stream(model, tasks.signal(steps))()
    many = tasks.our_stream
    if contender.endswith("plain"):
        many = plain
    before = _peak_mib()
    run = many(model, tasks.signal(steps, batch=STREAMS))
    run()
    run()
    return _peak_mib() - before


def _peer(contender: str, net: nets.Net) -> Any:
    """The model of another library."""
    return nets.keras_tcn(net) if contender == "keras-tcn" else nets.pytorch_tcn(net, None)


def _call(framework: str, task: str, model: Any, x: Any) -> tasks.Call:
    """The function that is run."""
    if framework == "torch":
        make = tasks.torch_forward if task == "forward" else tasks.torch_train
        return make(model, x, None)
    if framework == "keras":
        return tasks.keras_forward(model, x) if task == "forward" else tasks.keras_train(model, x)
    return tasks.mlx_forward(model, x) if task == "forward" else tasks.mlx_train(model, x)


def table(contenders: list[str]) -> list[dict[str, Any]]:
    """Peak growth of each contender, net and task, each in a process of its own."""
    rows = [
        _row(net, task, NETS[net].train_length, contenders)
        for net in NETS
        for task in ("forward", "training step")
    ]
    narrow, torch = "narrow [64]*8", ["pytorch-tcn", "tcnzoo torch"]
    rows.append(_row(narrow, "training step", LONG, [*torch, f"tcnzoo torch{CHECKPOINTING}"]))
    rows.append(_row(narrow, STREAMS_TASK, 1, ["tcnzoo torch", "tcnzoo torch, plain"]))
    return rows


def _row(net: str, task: str, steps: int, contenders: list[str]) -> dict[str, Any]:
    """One line of the table."""
    sizes = {}
    for contender in contenders:
        command = [sys.executable, "-m", "benchmarks.memory", contender, net, task, str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        sizes[contender] = float(json.loads(done.stdout.splitlines()[-1]))
    return {"net": net, "task": task, "steps": steps, "mib": sizes}


if __name__ == "__main__":
    print(json.dumps(growth(*sys.argv[1:4], int(sys.argv[4]))))
