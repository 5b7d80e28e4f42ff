#!/usr/bin/env bash
# timescoring 0.0.7 (SzCORE's scores of seizure detectors) compares times as floats and rounds
# halves of its samples to even numbers, so that its scores depend on the decimals of an onset.
#
# Its rules: events longer than 300 s are cut into pieces of 300 s, events less than 90 s apart are
# one, samples are seconds. Seen on Linux, Python 3.11, numpy 2.4:
#
#   one event of 600 s from 28 s: 2 references; from 28.2 s: 3 references
#   two events 90 s apart, the first from 28 s: 2 references; from 28.2 s: 1 reference
#   one event of 61 s from 100.5 s: 62 s; from 101.5 s: 60 s
#   (100, 400) with (150, 160) within it: 1 reference until 160 s, so an alarm at 300 s is false
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check timescoring==0.0.7 'numpy>=2,<3'

"$place/venv/bin/python" - <<'PYTHON'
from timescoring.annotations import Annotation
from timescoring.scoring import EventScoring, SampleScoring

SECONDS = 3600


def events(reference, hypothesis=()):
    sides = [Annotation(list(spans), 256, SECONDS * 256) for spans in (reference, hypothesis)]
    return EventScoring(*sides)


def samples(reference):
    sides = [Annotation(list(spans), 256, SECONDS * 256) for spans in (reference, ())]
    return int(SampleScoring(*sides).refTrue)


def pair(start):
    return [(start, start + 10), (start + 100, start + 110)]


long = {start: events([(start, start + 600)]).refTrue for start in (28.0, 28.2)}
pairs = {start: events(pair(start)).refTrue for start in (28.0, 28.2)}
halves = {start: samples([(start, start + 61)]) for start in (100.5, 101.5)}
alone = events([(100, 400)], [(300, 310)])
nested = events([(100, 400), (150, 160)], [(300, 310)])

print("references of one event of 600 s, by onset:", long)
print("references of two events 90 s apart, by onset:", pairs)
print("seconds of one event of 61 s, by onset:", halves)
print("an alarm at 300 s in (100, 400):", (alone.tp, alone.fp), "hits, false alarms")
print("and with (150, 160) within it:", (nested.tp, nested.fp), nested.ref.events)

assert long == {28.0: 2, 28.2: 3}, long
assert pairs == {28.0: 2, 28.2: 1}, pairs
assert halves == {100.5: 62, 101.5: 60}, halves
assert (alone.tp, alone.fp) == (1, 0), (alone.tp, alone.fp)
assert (nested.tp, nested.fp, nested.ref.events) == (0, 1, [(100, 160)])
PYTHON
