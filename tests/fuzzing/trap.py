"""What a hostile file would set off or steal, so that it shows."""

from dataclasses import dataclass
from pathlib import Path

# A number that is nowhere else, over and over.
WORD = 0x3FA5C3D7
SECRET = WORD.to_bytes(4, "little") * 256


@dataclass(frozen=True)
class Trap:
    """Places beside a mutant.

    Attributes:
        sentinel: is not there; code in a mutant would make it.
        secret: a file outside of the mutant, which mutants point to.
    """

    sentinel: Path
    secret: Path

    @classmethod
    def set_in(cls, folder: Path) -> "Trap":
        """Lay it out in a folder."""
        trap = cls(folder / "sentinel", folder / "secret")
        trap.secret.write_bytes(SECRET)
        return trap
