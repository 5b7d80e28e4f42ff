"""Memory of the running process: how much it has taken since a moment, and a limit to it.

Only Linux tells and holds both; elsewhere nothing is measured.
"""

import resource
from pathlib import Path

MIB = 2**20
# MiB beyond what the process has that it may take before it is refused more.
LIMIT = 3000
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_start = 0


def _kilobytes(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    return 0


def reset_peak() -> None:
    """Measure from now."""
    global _start
    if _RESET.exists():
        _RESET.write_text("5")
        _start = _kilobytes("VmRSS")


def peak() -> int:
    """MiB that the process has grown by since, at its largest."""
    return (_kilobytes("VmHWM") - _start) // 1024 if _RESET.exists() else 0


def limit() -> None:
    """From now on this process cannot take all memory, nor fill the disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    if _STATUS.exists():
        most = _kilobytes("VmData") * 1024 + LIMIT * MIB
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
