"""Options that several commands share, and how their text becomes values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tcnzoo.errors import InputError
from tcnzoo.files.documents import parse_yaml
from tcnzoo.specs import Spec
from tcnzoo.zoo.catalog import load_spec

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=VALUE", help="Change a field; can be given several times."),
]
Hints = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="HINT=VALUE", help="Tell what the file does not; repeatable."),
]
Literally = Annotated[
    bool,
    typer.Option("--literal", help="Take a brain-go-brr file as it stands, not as its code."),
]
Model = Annotated[str, typer.Argument(help="A preset, a spec file, or a checkpoint directory.")]
Checkpoint = Annotated[Path, typer.Argument(help="A checkpoint directory.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of initial weights and test signals.")]
InputLength = Annotated[int | None, typer.Option(min=1, help="Time steps of the signal.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
OneBackend = Annotated[
    str | None,
    typer.Option("--backend", help="torch, mlx, keras or numpy; default: the first installed."),
]
SomeBackends = Annotated[
    str | None,
    typer.Option("--backends", "--backend", metavar="A,B", help="Default: all that are installed."),
]
Device = Annotated[str | None, typer.Option(help="The framework's own name, such as cuda or cpu.")]
Dtype = Annotated[str | None, typer.Option(help="float32, or a type that the framework has.")]
Signal = Annotated[
    Path,
    typer.Option("--input", help=".npy (channels, time) or (batch, channels, time), or .csv."),
]
Embeddings = Annotated[
    list[Path] | None,
    typer.Option("--embedding", help=".npy (batch, channels[, time]); one for each of the model."),
]

PREFERRED = ("torch", "mlx", "keras", "numpy")


def assignments(pairs: Sequence[str] | None) -> dict[str, Any]:
    """Read `a.b=value` texts; a value is YAML.

    Raises:
        InputError: no `=`, or a value that is not YAML.
    """
    values: dict[str, Any] = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InputError(f"--set takes name=value, but got {pair!r}")
        try:
            values[name] = parse_yaml(text)
        except ValueError:
            raise InputError(f"--set {name}: {text!r} is not a YAML value") from None
    return values


def spec_of(source: str, overrides: Sequence[str] | None = None, *, literal: bool = False) -> Spec:
    """The spec of a preset, file or directory with `--set` applied."""
    return load_spec(source, literal=literal, **assignments(overrides))


def check_checkpoint(directory: Path) -> Spec:
    """Open a checkpoint directory, before any framework is imported for it; raises as `load`.

    Returns:
        its spec.
    """
    from tcnzoo.checkpoints.directory import open_checkpoint

    spec, _ = open_checkpoint(directory)
    return spec


def chosen_backend(name: str | None) -> str:
    """The backend that was asked for, by its own name, or the first that is installed."""
    from tcnzoo.models.backend import canonical, installed_backends

    if name is not None:
        return canonical(name)
    installed = installed_backends()
    return next(name for name in (*PREFERRED, *installed) if name in installed)


def chosen_backends(names: str | None) -> list[str] | None:
    """Backends from a comma-separated list, by their own names; None for all that are installed."""
    from tcnzoo.models.backend import canonical

    if names is None:
        return None
    chosen = [canonical(name.strip()) for name in names.split(",") if name.strip()]
    if not chosen:
        raise InputError("--backends takes names separated by commas, but got none")
    return list(dict.fromkeys(chosen))
