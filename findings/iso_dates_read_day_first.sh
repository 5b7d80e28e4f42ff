#!/usr/bin/env bash
# dayfirst=True turns ISO 8601 dates round, and only warns where it does not.
#
# Seen with pandas 3.1.1 and python-dateutil 4.0.0. It matters for tables with both "28-05-2022 07:05:28" and
# "2022-05-28T07:05:28Z", as in OpenSeizureDetector's database (within one event): dayfirst=True is needed for
# the first form, and breaks the second one.
#
#   pandas.to_datetime("2022-05-09T02:37:25Z", dayfirst=True)       -> the 5th of September, no warning
#   pandas.to_datetime("2022-05-13T02:37:25Z", dayfirst=True)       -> the 13th of May, with a UserWarning
#   dateutil.parser.parse("2022-05-09T02:37:25Z", dayfirst=True)    -> the 5th of September
#   dateutil.parser.isoparse("2022-05-09T02:37:25Z")                -> the 9th of May
#
# From the 1st to the 12th of a month days and months are swapped in silence, and from the 13th on they are
# right: four days that follow each other come out months apart, so that sorting by time mixes them up.
# Without dayfirst, dateutil and pandas swap the other form instead: "09-05-2022" is the 5th of September.
#
# Exits with an error if one of these answers changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pandas==3.1.1 python-dateutil==4.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import warnings
from importlib.metadata import version

import pandas as pd
from dateutil import parser

print("pandas", version("pandas"), "python-dateutil", version("python-dateutil"))
wrong = []


def hold(what, found, expected):
    print(f"{what}: {found}")
    if found != expected:
        wrong.append(f"{what} was {expected}")


def by_pandas(text, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        time = pd.to_datetime(text, **options)
    return f"{time:%Y-%m-%d}{' with a warning' if caught else ''}"


def by_dateutil(text, **options):
    return f"{parser.parse(text, **options):%Y-%m-%d}"


DAYS = ("2022-05-11", "2022-05-12", "2022-05-13", "2022-05-14")
SWAPPED = ("2022-11-05", "2022-12-05", "2022-05-13", "2022-05-14")
for day, expected in zip(DAYS, SWAPPED):
    text = f"{day}T02:37:25Z"
    said = " with a warning" if day == expected else ""
    hold(f"pandas {text} dayfirst=True", by_pandas(text, dayfirst=True), expected + said)
    hold(f"dateutil {text} dayfirst=True", by_dateutil(text, dayfirst=True), expected)
    hold(f"isoparse {text}", f"{parser.isoparse(text):%Y-%m-%d}", day)
hold("pandas 09-05-2022", by_pandas("09-05-2022 02:37:25"), "2022-09-05")
hold("pandas 09-05-2022 dayfirst=True", by_pandas("09-05-2022 02:37:25", dayfirst=True), "2022-05-09")
hold("dateutil 09-05-2022", by_dateutil("09-05-2022 02:37:25"), "2022-09-05")
sys.exit("changed: " + "; ".join(wrong) if wrong else 0)
PYTHON
