"""Mutations of the links and groups of HDF5 files."""

import numpy as np

from tests.fuzzing.h5_parts import found, groups, library, put


def link(file, choice, trap):
    name, h5py = choice.choice(found(file)), library()
    link = choice.choice((
        h5py.SoftLink("/nowhere"), h5py.SoftLink("/" + name), h5py.SoftLink("/"),
        h5py.SoftLink("/" + found(file)[0]),
        h5py.ExternalLink(str(trap.secret), "x"), h5py.ExternalLink("../secret", "/"),
        h5py.ExternalLink("/dev/zero", "x"),
        h5py.ExternalLink(file.filename if isinstance(file.filename, str) else "x", "/" + name),
    ))  # fmt: skip
    del file[name]
    file[name] = link
    return f"{name} {link!r}"


def group_link(file, choice, trap):
    name, h5py = choice.choice(groups(file)[1:] or ["vars"]), library()
    if name in file:
        if choice.random() < 0.5:
            file[f"{name}/itself"] = choice.choice((file["/"], file[name]))
            return f"{name} holds itself"
        del file[name]
    file[name] = choice.choice(
        (h5py.SoftLink("/"), h5py.ExternalLink(str(trap.secret), "/"), h5py.SoftLink("/" + name))
    )
    return name


def elsewhere(file, choice, trap):
    name, h5py = choice.choice(found(file)), library()
    shape = file[name].shape or (2,)
    if choice.random() < 0.5:
        size = 4 * int(np.prod(shape))
        place = choice.choice((str(trap.secret), "../secret", "/dev/zero"))
        put(file, name, shape=shape, dtype="f4", external=[(place, 0, max(size, 1))])
    else:
        del file[name]
        layout = h5py.VirtualLayout(shape, "f4")
        layout[...] = h5py.VirtualSource(choice.choice((str(trap.secret), ".")), "weight", shape)
        file.create_virtual_dataset(name, layout)
    return name


def twice(file, choice, trap):
    name = choice.choice(found(file))
    file[choice.choice(("more", name + "_", "vars/twice"))] = file[name]
    return name


def deep(file, choice, trap):
    file["/".join(["x"] * choice.choice((50, 800))) + "/kernel"] = np.ones(3, np.float32)


def many(file, choice, trap):
    group = file.create_group("many")
    for place in range(500):
        group.create_group(str(place))
