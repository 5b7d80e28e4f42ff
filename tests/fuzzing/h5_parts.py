"""What is in an HDF5 file, for those that change it."""


def library():
    import h5py

    return h5py


def found(file):
    """Every dataset's path."""
    names = []
    file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
    return names


def groups(file):
    names = ["/"]
    file.visititems(lambda name, item: names.append(name) if not hasattr(item, "shape") else None)
    return names


def put(file, name, **options):
    del file[name]
    return file.create_dataset(name, **options)
