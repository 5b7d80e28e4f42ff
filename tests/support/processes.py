"""Other processes: scripts, runs that are killed at a step, and two as torchrun starts them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Seconds after which another process is taken to hang: less than a test may take.
PATIENCE = 600
# What changes the disk.
POINTS = ("replace", "rename", "fsync", "unlink", "rmdir", "mkdir", "symlink")


def run_script(text, *arguments):
    """A script that ran at the project's root: its exit status and what it printed."""
    return subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def printed_by(text, *arguments):
    """What a script prints; it has to end well."""
    done = run_script(text, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def killed_at(point, call):
    """Whether a copy of this process was killed before its n-th step; else it has made the call."""
    child = os.fork()
    if child == 0:
        left = [point]
        for name in POINTS:
            original = getattr(os, name)

            def counted(*args, original=original, **options):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*args, **options)

            setattr(os, name, counted)
        code = 1
        try:
            call()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def wait_until_begun(process, folder):
    """Wait for the file by which a process says that it is in the middle of its work."""
    until = time.monotonic() + PATIENCE
    while not (folder / "begun").exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.01)


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
        "PYTHONPATH": str(ROOT),
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
        printed, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.terminate()
    assert process.returncode == 0, printed
