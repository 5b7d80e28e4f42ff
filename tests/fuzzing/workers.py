"""Cases judged in other processes, so that a crash, a hang or a flood of memory is a finding."""

import functools
import multiprocessing
import shutil
import tempfile
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

from tcnzoo.formats.protocol import format_modules
from tests.fuzzing import memory
from tests.fuzzing.cases import Case
from tests.fuzzing.judge import FAILED, Plan, Verdict, judge

# Cases of one process.
BATCH = 25

Work = Callable[[Connection, list[Case], Mapping[str, Plan], Path], None]


@functools.cache
def _context() -> ForkServerContext:
    """Processes that are forked from one that has imported everything and done nothing."""
    context = multiprocessing.get_context("forkserver")
    frameworks = ["torch", "h5py", "onnx", "onnx.numpy_helper"]
    context.set_forkserver_preload([*frameworks, *format_modules().values(), __name__])
    return context


def _work(pipe: Connection, cases: list[Case], plans: Mapping[str, Plan], folder: Path) -> None:
    """Judge cases one by one; tell what each is, how it ended, and last that there are no more."""
    warnings.simplefilter("ignore")
    memory.limit()
    for case in cases:
        plan = plans[str(case.sample.path)]
        verdict = judge(case, plan, folder / case.name, pipe.send)
        pipe.send(verdict)
        if verdict.outcome != FAILED:
            shutil.rmtree(folder / case.name, ignore_errors=True)
    pipe.send(None)


def run_batch(
    cases: list[Case],
    plans: Mapping[str, Plan],
    folder: Path,
    seconds: float,
    work: Work = _work,
) -> Iterator[Verdict]:
    """Judge cases in one process, and after a case that ends it, in the next."""
    left = list(cases)
    while left:
        ours, theirs = _context().Pipe(duplex=False)
        process = _context().Process(target=work, args=(theirs, left, plans, folder), daemon=True)
        process.start()
        theirs.close()
        ended, change = yield from _listen(ours, left, seconds)
        late = not ended and process.is_alive()
        if late:
            process.join(1)  # a crash may be seen before its end
            late = process.is_alive()
        if late:
            process.kill()
        process.join()
        if not ended:
            what = (
                f"no end within {seconds:g} s" if late else f"crash, exit code {process.exitcode}"
            )
            yield Verdict(left.pop(0).name, change, FAILED, what)
        ours.close()


def _listen(
    pipe: Connection, left: list[Case], seconds: float
) -> Generator[Verdict, None, tuple[bool, str]]:
    """Take cases off the list as verdicts come.

    Returns:
        whether the process came to its end, and what was done to the last mutant.
    """
    change = "none yet"
    while True:
        try:
            if not pipe.poll(seconds):
                return False, change
            said = pipe.recv()
        except EOFError:
            return False, change
        if said is None:
            return True, change
        if isinstance(said, Verdict):
            left.pop(0)
            yield said
        else:
            change = said


def _keep(mutant: Path, target: Path) -> None:
    """Copy a mutant's folder, but for pipes in it."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(
        mutant,
        target,
        symlinks=True,
        ignore=lambda folder, names: [name for name in names if (Path(folder) / name).is_fifo()],
    )


def judged(
    cases: list[Case], plans: Mapping[str, Plan], *, jobs: int, seconds: float, keep: Path | None
) -> Iterator[Verdict]:
    """Judge cases, several at a time.

    Args:
        cases: in any order; verdicts come in another.
        plans: path of each sample -> its plan.
        jobs: processes at a time.
        seconds: that one case may take.
        keep: where mutants that fail are kept; None to keep none.
    """
    batches = [cases[start : start + BATCH] for start in range(0, len(cases), BATCH)]
    with (
        tempfile.TemporaryDirectory(prefix="tcnzoo-fuzz-") as name,
        ThreadPoolExecutor(jobs) as pool,
    ):
        folder = Path(name)

        def run(batch: list[Case]) -> list[Verdict]:
            verdicts = list(run_batch(batch, plans, folder, seconds))
            for verdict in verdicts:
                if verdict.outcome == FAILED and (folder / verdict.name).exists():
                    if keep is not None:
                        _keep(folder / verdict.name, keep / verdict.name)
                    shutil.rmtree(folder / verdict.name, ignore_errors=True)
            return verdicts

        for verdicts in pool.map(run, batches):
            yield from verdicts
