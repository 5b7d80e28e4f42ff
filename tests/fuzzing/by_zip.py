"""Mutations of zip archives: hostile archives, and whole ones with a hostile member."""

import functools
import json
import struct
import warnings
import zipfile
import zlib

from tests.fuzzing import by_bytes, by_json, by_npy

OUTSIDE = (
    "../up.npy",
    "/tmp/rooted.npy",
    "a/../../b.npy",
    "C:\\drive.npy",
    "..\\up.npy",
    "\\\\host\\x.npy",
)
NAMES = (
    *OUTSIDE,
    "",
    ".",
    "/",
    "x" * 3000 + ".npy",
    "line\nbreak.npy",
    "\u2028.npy",
    "a\x00b.npy",
    "data.pkl",
)
MIB = 2**20
LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


def members(path):
    """Name and bytes of each member, in order, and the comment."""
    with zipfile.ZipFile(path) as opened:
        held = [(name, opened.read(name)) for name in opened.namelist()]
        return held, opened.comment


def put(path, held, comment=b"", packed=zipfile.ZIP_STORED):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two members of one name
        with zipfile.ZipFile(path, "w", packed) as opened:
            for name, data in held:
                opened.writestr(zipfile.ZipInfo(name), data, compress_type=packed)
            opened.comment = comment


@functools.cache
def zeros(size):
    """A deflated stream of so many MiB of zeros, and their checksum."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = bytes(MIB)
    first = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    check = 0
    for _ in range(size):
        check = zlib.crc32(piece, check)
    return first * size + packer.flush(zlib.Z_FINISH), check


def _with_bomb(path, name, size, claimed, choice):
    """An archive in which one member is many zeros."""
    held, comment = members(path)
    stream, check = zeros(size)
    put(path, [*held, (name, b"")], comment)
    data = bytearray(path.read_bytes())
    central, end = data.rindex(CENTRAL), data.rindex(END)
    local = struct.unpack_from("<L", data, central + 42)[0]
    for start in (local + 8, central + 10):
        struct.pack_into("<H", data, start, zipfile.ZIP_DEFLATED)
        struct.pack_into("<LLL", data, start + 6, check, len(stream), claimed)
    directory = struct.unpack_from("<L", data, end + 16)[0]
    struct.pack_into("<L", data, end + 16, directory + len(stream))
    data[directory:directory] = stream
    path.write_bytes(data)


def bomb(path, choice, trap):
    size = choice.choice((300, 1200, 1200))
    claimed = choice.choice((size * MIB, size * MIB, size * MIB, 100, 2**32 - 2))
    held, _ = members(path)
    names = [name for name, _ in held]
    read = [name for name in names if name.endswith((".pkl", ".h5", ".json"))]
    inside = choice.choice(read if read and choice.random() < 0.6 else names)
    replaced = choice.random() < 0.5
    if replaced:
        put(path, [one for one in held if one[0] != inside], members(path)[1])
    _with_bomb(path, inside if replaced else "more.npy", size, claimed, choice)
    return f"{size} MiB as {claimed} bytes"


def bomb_of_zeros_array(path, choice, trap):
    """A .npy of a GiB, truly there once it is unpacked; of any use in .npz only."""
    held, comment = members(path)
    header = by_npy.header_bytes({"descr": "<f4", "fortran_order": False, "shape": (300 * 2**18,)})
    data = header + bytes(8 * MIB)
    put(path, [*held, ("zeros.npy", data)], comment, zipfile.ZIP_DEFLATED)


def rename(path, choice, trap):
    held, comment = members(path)
    place = choice.randrange(len(held))
    old, data = held[place]
    new = choice.choice((*NAMES, old.upper(), old + "_", "archive/" + old, old.replace("/", "\\")))
    held[place] = (new, data)
    put(path, held, comment)
    return f"{old} to {new[:40]!r}"


def drop(path, choice, trap):
    held, comment = members(path)
    name, _ = held.pop(choice.randrange(len(held)))
    put(path, held, comment)
    return name


def add(path, choice, trap):
    held, comment = members(path)
    name = choice.choice((*NAMES, "more.npy", "archive/data/99", "__MACOSX/._x", "folder/"))
    put(path, [*held, (name, choice.choice((b"", b"x", held[0][1])))], comment)
    return name[:40]


def double(path, choice, trap):
    held, comment = members(path)
    name, data = choice.choice(held)
    put(
        path,
        [*held, (choice.choice((name, name.upper())), choice.choice((data, b"other")))],
        comment,
    )
    return name


def pack(path, choice, trap):
    held, comment = members(path)
    ways = (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    put(path, held, comment, packed := choice.choice(ways))
    return str(packed)


def order(path, choice, trap):
    held, comment = members(path)
    choice.shuffle(held)
    put(path, held, comment)


def comment(path, choice, trap):
    held, old = members(path)
    how = "garbage"
    new = choice.choice(
        (choice.randbytes(50), b"", b"x" * 65535, b"PK\x05\x06" + bytes(18), old[:-5])
    )
    if old.startswith(b"{") and choice.random() < 0.7:
        document = json.loads(old)
        if choice.random() < 0.6:
            config, how = by_json.text_of(json.loads(document["config"]), choice)
            document["config"] = config.decode(errors="replace")
            new = json.dumps(document).encode()
        else:
            new, how = by_json.text_of(document, choice)
    put(path, held, new[:65535])
    return how


def member_bytes(path, choice, trap):
    """Random changes in one member, with a checksum that is right."""
    held, comment = members(path)
    place = choice.randrange(len(held))
    name, data = held[place]
    data, how = by_bytes.mutated(data, choice)
    held[place] = (name, data)
    put(path, held, comment)
    return f"{how} in {name}"


def member_swapped(path, choice, trap):
    held, comment = members(path)
    one, other = choice.randrange(len(held)), choice.randrange(len(held))
    (first, data), (second, more) = held[one], held[other]
    held[one], held[other] = (first, more), (second, data)
    put(path, held, comment)
    return f"{first} and {second}"


def _heads(data, mark):
    """Where headers of a kind begin."""
    places, place = [], data.find(mark)
    while place >= 0:
        places.append(place)
        place = data.find(mark, place + 1)
    return places


# Fields after the mark, as (place in the local header, place in the central one, bytes).
FIELDS = {
    "flags": (6, 8, 2), "method": (8, 10, 2), "checksum": (14, 16, 4), "packed size": (18, 20, 4),
    "size": (22, 24, 4), "name length": (26, 28, 2), "extra length": (28, 30, 2), "place": (None,
    42, 4),
    "system": (None, 5, 1), "version": (4, 6, 2),
}  # fmt: skip


def header(path, choice, trap):
    """One number of a member's header, in one or both of its two copies."""
    data = bytearray(path.read_bytes())
    name = choice.choice(tuple(FIELDS))
    local, central, size = FIELDS[name]
    place = choice.randrange(len(_heads(data, CENTRAL)))
    new = choice.choice((*by_bytes.ODD, choice.randrange(2**16), 99, 12)) % 2 ** (8 * size)
    both = [(LOCAL, local), (CENTRAL, central)]
    for mark, offset in both if choice.random() < 0.5 else [choice.choice(both)]:
        heads = _heads(data, mark)
        if offset is not None and place < len(heads):
            start = heads[place] + offset
            data[start : start + size] = new.to_bytes(size, "little")
    path.write_bytes(data)
    return f"{name} {new}"


def password(path, choice, trap):
    data = bytearray(path.read_bytes())
    for mark, offset in ((LOCAL, 6), (CENTRAL, 8)):
        for head in _heads(data, mark):
            data[head + offset] |= choice.choice((1, 1, 0x40))
    path.write_bytes(data)


def end(path, choice, trap):
    """One number of the record that ends the archive."""
    data = bytearray(path.read_bytes())
    start = data.rindex(END) + choice.choice((4, 6, 8, 10, 12, 16, 20))
    data[start : start + 2] = choice.randbytes(2)
    path.write_bytes(data)


def same_place(path, choice, trap):
    """Two members that are the same bytes of the file."""
    data = bytearray(path.read_bytes())
    heads = _heads(data, CENTRAL)
    one, other = choice.choice(heads), choice.choice(heads)
    data[one + 42 : one + 46] = data[other + 42 : other + 46]
    path.write_bytes(data)


def array_header(path, choice, trap):
    """The header of a .npy in it."""
    held, comment = members(path)
    arrays = [place for place, (name, _) in enumerate(held) if name.endswith(".npy")]
    if not arrays:
        return member_bytes(path, choice, trap)
    place = choice.choice(arrays)
    data, how = by_npy.changed(held[place][1], choice, trap)
    held[place] = (held[place][0], data)
    put(path, held, comment)
    return how


def configuration(path, choice, trap):
    """The config.json in it."""
    held, comment = members(path)
    found = [place for place, (name, _) in enumerate(held) if name.endswith("config.json")]
    if not found:
        return member_bytes(path, choice, trap)
    text, how = by_json.text_of(json.loads(held[found[0]][1]), choice)
    held[found[0]] = (held[found[0]][0], text)
    put(path, held, comment)
    return how


ANY = (
    bomb, rename, rename, drop, add, double, pack, order, comment, member_bytes, member_bytes,
    member_swapped, header, header, password, end, same_place,
)  # fmt: skip
NPZ = (*ANY, bomb_of_zeros_array, array_header, array_header, array_header, comment, comment)
