"""What pickles carry that must never run."""

import os


def mark(place):
    """Leave a trace: the file that shows that code has run."""
    with open(place, "w") as file:
        file.write("run")


class Code:
    """Pickled, it is a call of a system command; unpickled by anybody, it leaves the trace."""

    def __init__(self, place, call=None):
        self.place, self.call = place, call or os.system

    def __reduce__(self):
        if self.call is os.system:
            return os.system, (f"touch '{self.place}'",)
        return self.call, (f"open({self.place!r}, 'w').close()",)


CALLS = (os.system, exec, eval)
