"""Times as OpenSeizureDetector's database writes them, as instants in UTC."""

import re
from datetime import UTC, datetime, timedelta, timezone

_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?"
_ZONE = r"\s*(?P<zone>Z|(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d))?)?"
_DATES = (
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[T ]",
    r"(?P<day>\d\d)-(?P<month>\d\d)-(?P<year>\d{4})[T ]",
)
_FORMS = [re.compile(date + _CLOCK + _ZONE, re.ASCII | re.IGNORECASE) for date in _DATES]


def instant(text: str) -> datetime | None:
    """Read a date and time, `2022-05-28T07:05:28Z` or `28-05-2022 07:05:28`.

    Fractions of a second count to the microsecond. A time without a zone is in UTC: the database
    writes both forms within one event.

    Returns:
        the time in UTC, or None if the text is no time.
    Source:
        OpenSeizureDatabase, commit c0d2c3e, `makeOsdDb_refactor/src/datetime_normalization.py`.
    """
    match = next(filter(None, (form.fullmatch(text.strip()) for form in _FORMS)), None)
    if match is None:
        return None
    microseconds = int(((match["fraction"] or "") + "000000")[:6])
    year, month, day = (int(match[name]) for name in ("year", "month", "day"))
    hour, minute, second = (int(match[name]) for name in ("hour", "minute", "second"))
    ahead = timedelta(hours=int(match["hours"] or 0), minutes=int(match["minutes"] or 0))
    try:
        zone = timezone(-ahead if match["sign"] == "-" else ahead)
        local = datetime(year, month, day, hour, minute, second, microseconds, zone)
        return local.astimezone(UTC)
    except (ValueError, OverflowError):  # the 30th of February, 25:00, or a zone of 99 hours
        return None
