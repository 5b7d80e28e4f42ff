"""`python -m benchmarks all` and `python -m benchmarks group NAME FILE`."""

from benchmarks.run import app

app(prog_name="python -m benchmarks")
