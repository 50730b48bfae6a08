"""Dates and times as Excel stores them, as ISO text."""

import re
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_DAY = 86_400_000
_UNIX = date(1970, 1, 1).toordinal()
_EPOCHS = {1900: date(1899, 12, 30), 1904: date(1904, 1, 1)}


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{rest:03}" if rest else text


def date_text(serial: float, kind: str, from_1904: bool) -> tuple[str | None, str]:
    """Returns a serial number as ISO text, and what is wrong with it ("must be …") or "".

    The text is None if the number is beyond all days.
    """
    total = round(serial * _DAY) if abs(serial) < 1e8 else -1
    if kind == "elapsed" and abs(serial) < 1e8:
        return ("-" if total < 0 else "") + _clock(abs(total)), ""
    days, rest = divmod(total, _DAY)
    if kind == "time" and days == 0:
        return _clock(rest), ""
    if not 0 <= days <= (2_957_003 if from_1904 else 2_958_465):
        return None, "must be a date that Excel knows, up to 9999-12-31"
    time = f" {_clock(rest)}" if rest else ""
    if not from_1904 and days in (0, 60):
        return ("1900-01-00" if days == 0 else "1900-02-29") + time, "must be a day that exists"
    shift = days if from_1904 or days > 60 else days + 1
    return (_EPOCHS[1904 if from_1904 else 1900] + timedelta(days=shift)).isoformat() + time, ""


def date_texts(stored: pa.Array, from_1904: bool) -> pa.Array:
    """Returns stored dates as `date_text` does, all at once; null for unusual ones."""
    try:
        serials = stored.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return pa.nulls(len(stored), pa.string())
    ordinary = np.abs(serials) < 1e8  # False if not finite
    total = np.rint(np.where(ordinary, serials, 0) * _DAY).astype(np.int64)
    days, rest = np.divmod(total, _DAY)
    if from_1904:
        ordinary &= (days >= 0) & (days <= 2_957_003)
    else:
        ordinary &= (days > 0) & (days <= 2_958_465) & (days != 60)
        days = np.where(days < 60, days + 1, days)
    milliseconds = (days + _EPOCHS[1904 if from_1904 else 1900].toordinal() - _UNIX) * _DAY + rest
    milliseconds[~ordinary] = 0
    of_day, to_second = rest == 0, rest % 1000 == 0
    texts = pa.nulls(len(stored), pa.string())
    for mask, unit, kind in (
        (of_day, _DAY, pa.date32()),
        (~of_day & to_second, 1000, pa.timestamp("s")),
        (~of_day & ~to_second, 1, pa.timestamp("ms")),
    ):
        chosen = mask & ordinary
        if chosen.any():
            units = pa.array(milliseconds[chosen] // unit).cast(pa.int32() if kind == pa.date32() else pa.int64())
            texts = pc.replace_with_mask(texts, pa.array(chosen), units.cast(kind).cast(pa.string()))
    return texts


_ISO = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})?"
    r"(?:T?(?P<time>[0-9]{2}:[0-9]{2})(?P<seconds>:[0-9]{2})?(?P<fraction>\.[0-9]+)?)?"
).fullmatch


def iso_text(text: str) -> str | None:
    """Returns the text of a date cell that is ISO text already, in the form of the others; None if it is not."""
    found = _ISO(text)
    if not text or found is None:
        return None
    fraction = (found["fraction"] or "").rstrip("0").rstrip(".")
    clock = f"{found['time']}{found['seconds'] or ':00'}{fraction}" if found["time"] else ""
    if found["date"] and clock in ("", "00:00:00"):
        return found["date"]
    return f"{found['date'] or ''} {clock}".strip()
