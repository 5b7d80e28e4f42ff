"""Scripts that run in two processes, as torchrun starts them."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path


@contextlib.contextmanager
def two_processes(folder, text):
    """Run a script under torchrun, its argument a folder; it has to have ended well by the end."""
    script = folder / "two.py"
    script.write_text(text)
    command = [sys.executable, "-m", "torch.distributed.run"]
    command += ["--standalone", "--nproc-per-node", "2", str(script), str(folder)]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "error::UserWarning",
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield
        printed, _ = process.communicate(timeout=120)
    finally:
        process.terminate()
    assert process.returncode == 0, printed
