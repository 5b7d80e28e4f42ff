"""Peak memory of a forward pass and of a training step, each in a fresh process."""

import json
import resource
import subprocess
import sys
from typing import Any

from benchmarks import nets, tasks
from benchmarks.nets import NETS


def _peak_mib() -> float:
    """Largest resident size so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 1024**2


def growth(contender: str, net: str, task: str) -> float:
    """MiB by which one contender's first calls of a task raise the peak of this process."""
    one = NETS[net]
    x = tasks.signal(one.train_length)
    library, _, framework = contender.partition(" ")
    model = nets.ours(one, framework, None) if library == "tcnzoo" else _peer(contender, one)
    run = _call(framework or {"keras-tcn": "keras"}.get(contender, "torch"), task, model, x)
    before = _peak_mib()
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
    rows = []
    for net in NETS:
        for task in ("forward", "training step"):
            found = {}
            for contender in contenders:
                command = [sys.executable, "-m", "benchmarks.memory", contender, net, task]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found[contender] = float(json.loads(done.stdout.splitlines()[-1]))
            rows.append({"net": net, "task": task, "steps": NETS[net].train_length, "mib": found})
    return rows


if __name__ == "__main__":
    print(json.dumps(growth(*sys.argv[1:4])))
