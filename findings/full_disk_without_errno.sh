#!/usr/bin/env bash
# A file that cannot grow (full disk, quota, size limit) is an OSError with an errno to the system, and so to Python's
# own `write`. Two libraries that write arrays report it otherwise, so a program that looks for
# `except OSError as e: e.errno == ENOSPC` finds neither:
#   numpy 2.4.6   np.save      OSError whose errno is None: "10000 requested and 609 written"
#   torch 2.13.0  torch.save   RuntimeError "[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"
# and each leaves the cut file behind. torch does so too for a Python file object, whose `write` did raise an OSError
# with an errno: torch's own RuntimeError takes its place.
# Seen on Linux x86-64 with Python 3.11. The limit here is RLIMIT_FSIZE, which gives EFBIG (27) where a full disk gives
# ENOSPC (28).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.13.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import os
import resource

import numpy as np
import torch

array = np.arange(10_000.0)


def plain():
    with open("plain.bin", "wb", buffering=0) as file:
        while file.write(array.tobytes()):
            pass


def torch_file():
    with open("file.pt", "wb") as file:
        torch.save({"a": torch.zeros(100_000)}, file)


WRITERS = {
    "open().write": plain,
    "np.save": lambda: np.save("a.npy", array),
    "torch.save(path)": lambda: torch.save({"a": torch.zeros(100_000)}, "path.pt"),
    "torch.save(file)": torch_file,
}
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
found = {}
for name, write in WRITERS.items():
    try:
        write()
        found[name] = ("no error", None)
    except Exception as error:
        found[name] = (type(error).__name__, getattr(error, "errno", None))
        print(f"{name:17} {type(error).__name__:13} errno {found[name][1]}  {str(error)[:72]}")
left = {name: os.path.getsize(name) for name in sorted(os.listdir(".")) if name.endswith((".npy", ".pt"))}
print("left:", left)
assert found == {
    "open().write": ("OSError", 27),
    "np.save": ("OSError", None),
    "torch.save(path)": ("RuntimeError", None),
    "torch.save(file)": ("RuntimeError", None),
}, found
assert set(left) == {"a.npy", "path.pt", "file.pt"}, left
PYTHON
