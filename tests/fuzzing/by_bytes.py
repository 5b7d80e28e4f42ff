"""Mutations of any file, which know nothing of what is in it."""

import os
import shutil

ODD = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**48, 2**63, 2**64 - 1)
# Formats keep what matters at their start, zip archives at their end.
EDGE = 400


def _place(data, choice):
    """A place in the data, often near its start or end."""
    where = choice.choice(("start", "end", "any", "any"))
    if where == "start":
        return choice.randrange(min(EDGE, len(data)))
    if where == "end":
        return choice.randrange(max(0, len(data) - EDGE), len(data))
    return choice.randrange(len(data))


def _chunk(data, choice):
    """First and last place of a piece of the data."""
    first = _place(data, choice)
    return first, min(len(data), first + choice.choice((1, 2, 3, 4, 8, 16, 64, 256, 1024)))


def cut(data, choice):
    del data[
        choice.choice((_place(data, choice), len(data) - 1, choice.randrange(min(16, len(data))))) :
    ]


def flip(data, choice):
    for _ in range(choice.choice((1, 1, 2, 4, 8, 32))):
        data[_place(data, choice)] ^= 1 << choice.randrange(8)


def overwrite(data, choice):
    first, last = _chunk(data, choice)
    data[first:last] = choice.randbytes(last - first)


def fill(data, choice):
    first, last = _chunk(data, choice)
    data[first:last] = bytes([choice.choice((0, 255, 0x41))]) * (last - first)


def repeat(data, choice):
    first, last = _chunk(data, choice)
    data[last:last] = data[first:last] * choice.choice((1, 1, 2, 10))


def remove(data, choice):
    first, last = _chunk(data, choice)
    del data[first:last]


def insert(data, choice):
    first, last = _chunk(data, choice)
    data[first:first] = choice.randbytes(last - first)


def swap(data, choice):
    one, other = sorted((_place(data, choice), _place(data, choice)))
    size = min(choice.choice((4, 8, 64)), other - one, len(data) - other)
    data[one : one + size], data[other : other + size] = (
        data[other : other + size],
        data[one : one + size],
    )


def number(data, choice):
    size, place = choice.choice((1, 2, 4, 8)), _place(data, choice)
    odd = choice.choice(ODD) % 2 ** (8 * size)
    data[place : place + size] = odd.to_bytes(size, choice.choice(("little", "little", "big")))


def append(data, choice):
    data += choice.choice((b"\0", choice.randbytes(100), bytes(4096), bytes(data)))


def prepend(data, choice):
    data[:0] = choice.choice((b"\0", b"PK\x03\x04", b"\x80\x04", choice.randbytes(50)))


def shuffle(data, choice):
    first, last = _chunk(data, choice)
    piece = list(data[first:last])
    choice.shuffle(piece)
    data[first:last] = bytes(piece)


CHANGES = (
    cut, cut, flip, flip, flip, overwrite, fill, repeat, remove, insert, swap, number, number,
    append, prepend, shuffle,
)  # fmt: skip


def mutated(data, choice):
    """Changed data and the name of the change."""
    change, held = choice.choice(CHANGES), bytearray(data)
    if held:
        change(held, choice)
    return bytes(held), change.__name__


def change_bytes(path, choice, trap):
    data, name = mutated(path.read_bytes(), choice)
    path.write_bytes(data)
    return name


# Something else in place of a file


def empty(path, choice, trap):
    path.write_bytes(b"")


def noise(path, choice, trap):
    path.write_bytes(choice.randbytes(choice.choice((1, 7, 100, 3000))))


def noise_after_start(path, choice, trap):
    kept = path.read_bytes()[: choice.choice((4, 8, 9, 16, 64))]
    path.write_bytes(kept + choice.randbytes(2000))


def directory(path, choice, trap):
    path.unlink()
    path.mkdir()
    if choice.random() < 0.5:
        (path / "inside").write_bytes(b"x")


def itself_inside(path, choice, trap):
    path.rename(path.with_name("moved"))
    path.mkdir()
    shutil.move(path.with_name("moved"), path / path.name)


def pipe(path, choice, trap):
    path.unlink()
    os.mkfifo(path)


def link(path, choice, trap):
    path.unlink()
    path.symlink_to(choice.choice((path.name, "/dev/zero", "nowhere", str(trap.secret))))


PLACES = (empty, noise, noise_after_start, directory, itself_inside, pipe, link)
