"""Break files of every format at random, and see that each is refused in one sentence or read.

    python -m tests.fuzzing --count 2000
    python -m tests.fuzzing --format torch --seed 3 --case 137 --keep kept

Every mutant follows from the format, the seed and its number. It is a failure where reading one
ends in anything but a tcnzoo error or the tensors that are in it: another error, a crash, a hang,
memory taken for what is only claimed, code run, a file left behind or changed.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzzing.cases import cases_of
from tests.fuzzing.judge import FAILED, READ, REFUSED, Verdict, Wrong, plan_of
from tests.fuzzing.makers import known_formats, make_samples
from tests.fuzzing.sample import MISSING
from tests.fuzzing.workers import judged


@dataclass(frozen=True)
class Result:
    """What became of the mutants of one format.

    Attributes:
        format: its name.
        verdicts: one for each mutant.
        skipped: why there are none, or empty.
        seconds: that it took.
    """

    format: str
    verdicts: Sequence[Verdict] = ()
    skipped: str = ""
    seconds: float = 0.0

    @property
    def outcomes(self) -> Counter[str]:
        """How many were refused, read and failed."""
        return Counter(verdict.outcome for verdict in self.verdicts)

    @property
    def failures(self) -> list[Verdict]:
        """Those that ended as none may."""
        return [verdict for verdict in self.verdicts if verdict.outcome == FAILED]


def fuzz(
    format_name: str,
    count: int,
    *,
    seed: int = 0,
    jobs: int = 1,
    seconds: float = 30.0,
    keep: Path | None = None,
    only: int | None = None,
) -> Result:
    """Judge so many mutants of a format, or one of them.

    Raises:
        LookupError: nobody says how to make a sample of it.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tcnzoo-samples-") as folder:
        try:
            samples = make_samples(format_name, Path(folder))
        except MISSING as error:
            return Result(format_name, skipped=str(error))
        try:
            plans = {
                str(sample.path): plan_of(sample, Path(folder) / f"plan{number}")
                for number, sample in enumerate(samples)
            }
        except Wrong as wrong:
            return Result(
                format_name, [Verdict(f"{format_name}-whole", "none", FAILED, str(wrong))]
            )
        cases = cases_of(samples, count if only is None else only + 1, seed)
        cases = cases if only is None else cases[only:]
        verdicts = list(judged(cases, plans, jobs=jobs, seconds=seconds, keep=keep))
    return Result(format_name, verdicts, seconds=time.monotonic() - start)


def _show(results: Sequence[Result]) -> None:
    """Print a table, and below it what failed."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(
        "format", *(("mutants", "refused", "read", "bits compared", "failures", "seconds"))
    )
    for result in results:
        if result.skipped:
            table.add_row(result.format, "skipped", result.skipped)
            continue
        found = result.outcomes
        compared = sum(verdict.compared for verdict in result.verdicts)
        numbers = (len(result.verdicts), found[REFUSED], found[READ], compared, found[FAILED])
        table.add_row(result.format, *map(str, numbers), f"{result.seconds:.0f}")
    console.print(table)
    for result in results:
        for verdict in result.failures:
            console.print(f"{verdict.name}: {verdict.change}\n    {verdict.detail}", markup=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 1 where a mutant failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="mutants of each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", nargs="+", dest="formats", default=None)
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for one mutant")
    parser.add_argument("--case", type=int, default=None, help="only the mutant of this number")
    parser.add_argument("--keep", type=Path, default=None, help="folder for mutants that fail")
    parser.add_argument("--verbose", action="store_true", help="print every verdict")
    given = parser.parse_args(arguments)
    results = []
    for name in given.formats or known_formats():
        result = fuzz(
            name, given.count, seed=given.seed, jobs=given.jobs, seconds=given.limit,
            keep=given.keep, only=given.case,
        )  # fmt: skip
        results.append(result)
        if given.verbose:
            for verdict in result.verdicts:
                print(
                    verdict.name,
                    f"{verdict.seconds:.2f}",
                    verdict.change,
                    "|",
                    verdict.outcome,
                    verdict.detail,
                    flush=True,
                )
        print(f"{name}: {dict(result.outcomes) or result.skipped}", file=sys.stderr, flush=True)
    _show(results)
    return int(any(result.failures for result in results))


if __name__ == "__main__":
    sys.exit(main())
