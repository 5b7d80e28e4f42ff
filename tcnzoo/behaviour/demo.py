"""The demo on behaviour: three stages of training on simulated bouts, then an unseen recording."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo.behaviour import figures
from tcnzoo.behaviour.scores import (
    active,
    code_usage,
    matched,
    persistence,
    psnr,
    scored,
    silhouette,
)
from tcnzoo.behaviour.segmenting import Segmentation, segment, tables_in, write_segments
from tcnzoo.checkpoints.directory import write_checkpoint
from tcnzoo.models.calls import get_weights
from tcnzoo.training.data.simulator import ACTIVITIES, Recording, simulate

# Configurations that come with the package; each begins with the weights of the one before.
STAGES = ("bouts-codes", "bouts-clusters", "bouts-states")
# Share of the unseen recording's segments that must be right.
WANTED = 0.9
# Seeds and steps of the recordings that no stage has seen: one to name the states, one to score.
NAMED, SCORED = (90_001, 4000), (90_002, 2000)
SHOWN = 1000


@dataclass(frozen=True)
class BehaviourReport:
    """What the demo found on an unseen recording.

    Attributes:
        segments: share of the true segments most of whose steps have the right activity.
        accuracy: share of the steps.
        states: states in use, each with the activity that it stands for.
        perplexity, usage: of the codes; see `tcnzoo.behaviour.code_usage`.
        psnr: of the reconstruction, in dB.
        silhouette: of the codes' vectors by state.
        persistence: share of the steps that stay in the state before.
        files: what was written.
    """

    segments: float
    accuracy: float
    states: dict[int, str]
    perplexity: float
    usage: float
    psnr: float
    silhouette: float
    persistence: float
    files: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether enough segments are right."""
        return self.segments > WANTED

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "passed": self.passed}


def demo(
    directory: Path,
    *,
    backend: str = "torch",
    changes: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> BehaviourReport:
    """Train the three stages, and cut an unseen recording into segments.

    Args:
        directory: of runs, checkpoint, segments and pictures.
        backend: which framework trains.
        changes: fields of every stage's configuration, dotted for inner ones.
        say: called with a line as the work goes on.
    Raises:
        InputError: the directory holds runs already.
        BackendMissing: the framework, or a package of the extra `train`, is not installed.
    """
    from tcnzoo.training import train

    settings = {**(changes or {}), "backend": backend}
    model: Any = None
    for number, name in enumerate(STAGES):
        say(f"stage {number + 1} of {len(STAGES)}: {name}")
        own: dict[str, Any] = {"output": str(directory / name)}
        if number:
            own["init"] = str(directory / STAGES[number - 1] / "checkpoints" / "best")
        model = train(name, **{**settings, **own}).model
    say("cutting an unseen recording")
    write_checkpoint(directory / "model", model.tcnzoo.spec, get_weights(model), overwrite=True)
    return _report(directory, model)


def _report(directory: Path, model: Any) -> BehaviourReport:
    """Name the states on one recording, score them on another, and write what was found."""
    known, unseen = simulate(NAMED[1], NAMED[0]), simulate(SCORED[1], SCORED[0])
    meaning = matched(segment(model, known.signal).path, known.labels).labels
    segmentation = segment(model, unseen.signal)
    match = scored(segmentation.path, unseen.labels, meaning)
    used = active(segmentation.path, len(segmentation.posterior))
    spec = model.tcnzoo.spec
    codes = segmentation.outputs["codes"]
    vectors = get_weights(model)["vq.codebook"][codes[0]]
    return BehaviourReport(
        match.segments,
        match.accuracy,
        {int(state): _name(meaning, state) for state in used},
        **code_usage(codes, spec.vq.codes),
        psnr=psnr(unseen.signal[None], segmentation.outputs["reconstructed"]),
        silhouette=silhouette(vectors, segmentation.path),
        persistence=persistence(segmentation.path),
        files=_write(directory, model, unseen, segmentation),
    )


def _name(meaning: np.ndarray[Any, Any], state: int) -> str:
    """The activity that a state stands for."""
    known = state < len(meaning) and meaning[state] >= 0
    return ACTIVITIES[meaning[state]] if known else "not seen before"


def _write(
    directory: Path, model: Any, unseen: Recording, segmentation: Segmentation
) -> dict[str, str]:
    """Write segments and pictures; what is where."""
    places = {
        "segments": directory / "segments.csv",
        "ethogram": directory / "ethogram.png",
        "durations": directory / "durations.png",
        "transitions": directory / "transitions.png",
    }
    write_segments(places["segments"], segmentation, unseen.rate)
    shown = Segmentation(
        tuple(segment for segment in segmentation.segments if segment.start < SHOWN),
        segmentation.path[:SHOWN],
        segmentation.posterior[:, :SHOWN],
        segmentation.log_likelihood,
        {},
    )
    figures.ethogram(
        places["ethogram"],
        unseen.signal[..., :SHOWN],
        shown,
        rate=unseen.rate,
        truth=unseen.labels[:SHOWN],
        names=ACTIVITIES,
        title="A recording that no stage has seen",
    )
    figures.duration_histograms(places["durations"], segmentation, tables_in(model))
    figures.transition_graph(places["transitions"], segmentation)
    return {name: str(path) for name, path in places.items()}
