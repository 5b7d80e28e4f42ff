"""The command line: `tcnzoo COMMAND`; `commands.py` lists them, and the file of each.

Exit codes: 0 done, 1 a check did not hold, 2 the input was bad, 130 Ctrl-C, 143 SIGTERM.
"""

import os
from typing import Annotated

import typer

import tcnzoo
from tcnzoo.cli.commands import Commands
from tcnzoo.cli.console import end_at_sigterm

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


def main() -> None:
    """Run the command line (the console script `tcnzoo`)."""
    # Before TensorFlow is imported, or it logs how it was built.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    end_at_sigterm()
    app(prog_name="tcnzoo")
