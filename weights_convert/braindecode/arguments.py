"""The arguments of a net: from a configuration, from hints, and from the shapes of its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcnzoo.errors import InputError, SpecError, WeightError, suggestion
from tcnzoo.files.documents import read_mapping
from tcnzoo.formats.report import Undetermined

from .nets import NETS, NetKind, Shapes

CONFIG = "config"
# What all nets are told of the signal.
SIGNAL = ("n_chans", "n_outputs", "n_times", "chs_info", "input_window_seconds", "sfreq")
# Keys of a configuration that no output depends on.
IGNORED = ("chs_info", "input_window_seconds", "sfreq", "braindecode_version", "electrodes")
NAMES = tuple(
    dict.fromkeys([*SIGNAL[:3], *(name for kind in NETS.values() for name in kind.defaults)])
)
# More layers, steps or channels than any net has, so that a damaged file is refused before it is
# built.
MOST_LAYERS = 64
MOST = 2**24
LAYERS = ("n_blocks", "depth", "block_layers", "num_layers")
# What may be null although the class has another default.
NULLABLE = ("qk_norm", "init_values")


@dataclass(frozen=True)
class Known:
    """The arguments of a net.

    Attributes:
        arguments: all of them.
        assumed: those that neither the file nor a hint says -> the class's default.
    """

    arguments: Mapping[str, Any]
    assumed: Mapping[str, Any] = field(default_factory=dict)


def arguments_in(
    path: Path, kind: NetKind, config: Mapping[str, Any], hints: Mapping[str, Any], shapes: Shapes
) -> Known:
    """The arguments of a net in a file.

    Args:
        path: for the sentences of errors.
        kind: of the net.
        config: contents of config.json; empty where there is none.
        hints: arguments that the caller gives.
        shapes: of the net's tensors.
    Raises:
        Undetermined: an argument that nothing says and that has no default.
        InputError: an argument that the class has not, or that contradicts the tensors.
        WeightError: a tensor is missing whose shape would say an argument.
        SpecError: a value that is of another type than the argument.
    """
    said = {**_of_signal(config), **hints}
    for name in said:
        if name not in (*SIGNAL, *kind.defaults, *IGNORED):
            raise InputError(
                f"{str(path)!r} holds {kind.name}, which has no argument {name!r}"
                f"{suggestion(name, kind.defaults)}"
            )
    try:
        facts = kind.facts_of(shapes)
    except (KeyError, ValueError, IndexError):
        raise WeightError(
            f"{str(path)!r} lacks tensors of {kind.name}, or has them with other axes"
        ) from None
    for name, value in facts.items():
        if said.get(name, value) != value:
            raise InputError(
                f"{name}={said[name]!r} was given, but the tensors of {str(path)!r} have {value}"
            )
    known = {**said, **facts}
    missing = [name for name in kind.needed if known.get(name) is None]
    if missing:
        texts = " ".join(f"--set {name}=..." for name in missing)
        raise Undetermined(
            f"{str(path)!r} holds the tensors of {kind.name} and does not say "
            f"{' and '.join(missing)}; give its arguments: --set {CONFIG}=config.json, or {texts}",
            facts,
        )
    arguments = {
        name: _checked(path, name, known.get(name, default), default)
        for name, default in {**dict.fromkeys(kind.needed, 0), **kind.defaults}.items()
    }
    return Known(arguments, {name: kind.defaults[name] for name in kind.defaults.keys() - known})


def config_from(hints: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that the caller names.

    Raises:
        InputError: no such file, or one that is no configuration.
    """
    given = hints.get(CONFIG)
    if given is None:
        return {}
    return dict(given) if isinstance(given, Mapping) else read_mapping(Path(str(given)))


def _of_signal(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the electrodes and steps counted where it says them in another way."""
    said = dict(config)
    electrodes, seconds, rate = (
        said.get(name) for name in ("chs_info", "input_window_seconds", "sfreq")
    )
    if said.get("n_chans") is None and isinstance(electrodes, list):
        said["n_chans"] = len(electrodes)
    channels = electrodes if isinstance(electrodes, list) else []
    if said.get("electrodes") is None and channels and all(map(_is_named, channels)):
        said["electrodes"] = [channel["ch_name"] for channel in channels]
    if said.get("n_times") is None and _is_number(seconds) and _is_number(rate):
        said["n_times"] = round(float(str(seconds)) * float(str(rate)))
    return said


def _is_named(electrode: Any) -> bool:
    """Whether an electrode of a configuration has a name."""
    return isinstance(electrode, Mapping) and isinstance(electrode.get("ch_name"), str)


def _is_number(value: Any) -> bool:
    """Whether it is a finite number of a sensible size."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < MOST


def _checked(path: Path, name: str, value: Any, default: Any) -> Any:
    """A value of the type that the argument has.

    Raises:
        SpecError: of another type, or out of all bounds.
    """
    most = MOST_LAYERS if name in LAYERS else MOST
    optional = default is None and value is None
    if name == "electrodes":
        several = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
        fits, wanted = value is None or several, "names"
    elif value is None and name in NULLABLE:
        return None
    elif name == "final_conv_length":
        fits, wanted = value == "auto" or _is_count(value, most), "'auto' or a whole number"
    elif isinstance(default, bool):
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, str):
        fits, wanted = isinstance(value, str), "a name"
    elif isinstance(default, float) or name.startswith(("drop_prob_", "conv_spatial_max")):
        rate = "drop" in name and value == 0
        fits, wanted = optional or rate or _is_number(value), "a number above zero"
    else:
        padding = name.startswith("padding_") and value == 0
        fits = optional or padding or _is_count(value, most)
        wanted = f"a whole number of 1 to {most}"
    if not fits:
        raise SpecError(f"argument {name!r} of {str(path)!r} must be {wanted}, but is {value!r}")
    return value


def _is_count(value: Any, most: int) -> bool:
    """Whether it is a whole number from 1 on."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most
