"""The command line: `tcnzoo COMMAND`, each command a function in one of these files.

Exit codes: 0 done, 1 a check did not hold, 2 the input was bad, 130 Ctrl-C, 143 SIGTERM.
"""

import os
from typing import Annotated

import typer

import tcnzoo
from tcnzoo.cli import (
    behaviour,
    checkpoints,
    checks,
    cross_validate,
    curves,
    demonstration,
    eeg,
    exports,
    models,
    run,
    simulate,
    train,
)
from tcnzoo.cli.console import Commands, end_at_sigterm

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """One description of a temporal model, one set of weights, every framework."""
    if version:
        print(tcnzoo.__version__)
        raise typer.Exit


app.command("list")(models.list_models)
for _command in (
    models.describe,
    models.init,
    checkpoints.convert,
    checkpoints.inspect,
    exports.export,
    train.train,
    cross_validate.cross_validate,
    curves.curves,
    simulate.simulate,
    behaviour.segment,
    behaviour.demo_behaviour,
    checks.parity,
    run.predict,
    run.stream,
    eeg.detect,
    checks.bench,
    checks.compare,
    checks.doctor,
    demonstration.demo,
):
    app.command()(_command)


def main() -> None:
    """Run the command line (the console script `tcnzoo`)."""
    # Before TensorFlow is imported, or it logs how it was built.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    end_at_sigterm()
    app(prog_name="tcnzoo")
