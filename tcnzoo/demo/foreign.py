"""A checkpoint of pytorch-tcn, made on the spot by that library itself."""

import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcnzoo.arrays import Array
from tcnzoo.demo.recording import Recording
from tcnzoo.errors import InputError
from tcnzoo.files.atomic import replacing
from tcnzoo.files.sinks import Sink

CHANNELS = [16, 16, 16, 16, 16, 16]
DILATIONS = [1, 2, 4, 8, 16, 32]
KERNEL_SIZE = 7
# What the file does not tell, for the converter.
HINTS: dict[str, Any] = {
    "causal": True,
    "activation": "relu",
    "skip_connections": True,
    "output_activation": "none",
}
# Training: passes over the lesson, and Adam's step size.
EPOCHS = 30
RATE = 1e-2


@dataclass(frozen=True)
class Foreign:
    """The library's network.

    Attributes:
        network: pytorch_tcn.TCN in evaluation mode.
        version: of pytorch-tcn.
    """

    network: Any
    version: str

    def save(self, path: Path) -> None:
        """Write its state_dict, as users of that library do."""
        with replacing(path) as temporary, Sink(temporary) as file:
            _package("torch").save(self.network.state_dict(), file)

    def output(self, x: Array) -> Array:
        """Its own offline output for (batch, channels, time)."""
        torch = _package("torch")
        with torch.no_grad():
            y: Array = self.network(torch.from_numpy(x)).numpy()
        return y


def require(*packages: str) -> None:
    """Raise InputError, with what to install, unless every package can be found."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        names = " ".join(name.replace("_", "-") for name in missing)
        raise InputError(f"the demo needs {', '.join(missing)}; run: pip install {names}")


def make(seed: int, lesson: Recording) -> Foreign:
    """Build and train the library's network, which takes a few seconds.

    Args:
        seed: of the random weights and of dropout.
        lesson: a recording whose bursts are known; the network learns to mark them.
    Raises:
        InputError: torch or pytorch-tcn is not installed.
    """
    require("torch", "pytorch_tcn")
    torch, library = _package("torch"), _package("pytorch_tcn")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = library.TCN(
            lesson.samples.shape[0],
            CHANNELS,
            kernel_size=KERNEL_SIZE,
            dilations=DILATIONS,
            causal=True,
            use_norm="weight_norm",
            activation="relu",
            use_skip_connections=True,
            output_projection=1,
        )
        _train(torch, network, lesson)
    return Foreign(network.eval(), importlib.metadata.version("pytorch-tcn"))


def _train(torch: Any, network: Any, lesson: Recording) -> None:
    """Fit the logits to the bursts of the lesson."""
    x, bursts = torch.from_numpy(lesson.scaled), torch.from_numpy(lesson.bursts)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        logits = network(x)[0, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, bursts.float())
        loss.backward()
        optimizer.step()


def _package(name: str) -> Any:
    """Import a package that tcnzoo itself does not need."""
    return importlib.import_module(name)
