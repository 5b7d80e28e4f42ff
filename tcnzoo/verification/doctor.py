"""What is installed, whether it computes, and what makes it slow on this machine."""

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcnzoo import engines
from tcnzoo.engines import Choice
from tcnzoo.extras import missing_package
from tcnzoo.files.atomic import settle_below
from tcnzoo.models.backend import BackendInfo, backend_modules, get_backend
from tcnzoo.models.calls import create, predict
from tcnzoo.specs import TcnSpec
from tcnzoo.verification.parity import TOLERANCE, relative_error

# A model that every backend runs in a moment: causal, dilated, with weight norm.
PROBE = TcnSpec(in_channels=3, channels=(5, 7), kernel_size=3, dropout=0.0)


@dataclass(frozen=True)
class Finding:
    """One backend as it was found.

    Attributes:
        info: versions and devices, or what to install.
        error: of a small model against the float64 reference, relative; None if it did not run.
        problem: why an installed backend does not work, or None.
    """

    info: BackendInfo
    error: float | None = None
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """Whether it is absent, or works."""
        if not self.info.installed:
            return True
        return self.error is not None and self.error <= TOLERANCE


@dataclass(frozen=True)
class Examination:
    """What `examine` found.

    Attributes:
        python, system, cores: of this machine.
        findings: one for each backend.
        advice: sentences on what is slow here and what helps.
        settled: remains of writes that were killed, which have been finished or removed.
        processor: its name and vector instructions.
        engines: what was measured on it so far; see tcnzoo.engines.
        engine_file: where that is kept.
        engine_asked: the engine that TCNZOO_ENGINE names, or None.
    """

    python: str
    system: str
    cores: int
    findings: tuple[Finding, ...]
    advice: tuple[str, ...]
    settled: tuple[str, ...] = ()
    processor: str = ""
    engines: tuple[Choice, ...] = ()
    engine_file: str = ""
    engine_asked: str | None = None

    @property
    def passed(self) -> bool:
        """Whether everything that is installed works."""
        return all(finding.passed for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "passed": self.passed}


def examine(folder: Path | None = None) -> Examination:
    """Look at every known backend and run a small model in each that is installed.

    Args:
        folder: in which, and below it, the remains of writes that were killed are finished or
            removed; None for nowhere.
    """
    settled = tuple(map(str, settle_below(folder))) if folder is not None else ()
    findings = tuple(_find(name) for name in backend_modules())
    installed = {
        finding.info.name: finding.info
        for finding in findings
        if finding.passed and finding.info.installed
    }
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Examination(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=cores or 1,
        findings=findings,
        advice=tuple(_advice(installed)),
        settled=settled,
        processor=engines.processor(),
        engines=tuple(engines.known()),
        engine_file=str(engines.cache_file()),
        engine_asked=engines.asked_for(),
    )


def _find(name: str) -> Finding:
    """One backend; any exception inside its framework is a finding, not an error."""
    package = missing_package(name)
    if package is not None:
        note = f"{package} is missing: pip install 'tcnzoo[{name}]'"
        return Finding(BackendInfo(name, installed=False, note=note))
    info = BackendInfo(name, installed=True)
    try:
        info = get_backend(name).info()
        return Finding(info, _probe(name))
    except Exception as error:
        reason = (str(error).splitlines() or ["no message"])[0]
        return Finding(info, problem=f"{type(error).__name__}: {reason}")


def _probe(name: str) -> float:
    """Relative error of the probe model."""
    signal = np.random.Generator(np.random.PCG64(0)).standard_normal((2, 3, 37))
    reference = predict(create(PROBE, "numpy", dtype="float64"), signal)
    return relative_error(predict(create(PROBE, name), signal), reference)


def _advice(installed: dict[str, BackendInfo]) -> list[str]:
    """Slow spots that this machine has."""
    advice = []
    if "mlx" in installed:
        advice += _mlx_advice()
    if "torch" in installed and "OMP_WAIT_POLICY" not in os.environ:
        advice.append(
            "torch: on busy cores its waiting threads slow small chunks down; set "
            "OMP_WAIT_POLICY=passive, or call torch.set_num_threads(1)"
        )
    return advice


def _mlx_advice() -> list[str]:
    """What the MLX backend says of the BLAS that it runs on."""
    backend: Any = get_backend("mlx")
    return [f"mlx: {sentence}" for sentence in backend.advice()]
