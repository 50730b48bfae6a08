"""Flights that left New York City in 2013: the data of the R package nycflights13."""

from typing import Any

from schemas.model import Integer, RecordModel, Text, Timestamp, field

_CLOCK: dict[str, Any] = {"ge": 0, "le": 2400}


class Flights(RecordModel):
    """Departures from the airports of New York City, one record a scheduled flight."""

    year: Integer = field("Year of departure.", example="2013", required=True)
    month: Integer = field("Month of departure.", example="1", required=True, ge=1, le=12)
    day: Integer = field("Day of departure.", example="31", required=True, ge=1, le=31)
    dep_time: Integer = field("Actual departure, local time as HHMM.", example="517", **_CLOCK)
    sched_dep_time: Integer = field("Scheduled departure, local time as HHMM.", example="515", required=True, **_CLOCK)
    dep_delay: Integer = field("Departure delay in minutes; early is negative.", example="2")
    arr_time: Integer = field("Actual arrival, local time as HHMM.", example="830", **_CLOCK)
    sched_arr_time: Integer = field("Scheduled arrival, local time as HHMM.", example="819", required=True, **_CLOCK)
    arr_delay: Integer = field("Arrival delay in minutes; early is negative.", example="11")
    carrier: Text = field("Two-letter code of the airline.", example="UA", required=True, str_matches=r"^[A-Z0-9]{2}$")
    flight: Integer = field("Flight number.", example="1545", required=True, ge=0)
    tailnum: Text = field("Tail number of the plane.", example="N14228", aliases=("tail number",))
    origin: Text = field("Airport of departure.", example="EWR", required=True, str_matches=r"^[A-Z]{3}$")
    dest: Text = field("Airport of arrival.", example="IAH", required=True, str_matches=r"^[A-Z]{3}$")
    air_time: Integer = field("Minutes in the air.", example="227", ge=0)
    distance: Integer = field("Miles between the airports.", example="1400", required=True, ge=0)
    hour: Integer = field("Hour of the scheduled departure.", example="5", required=True, ge=0, le=24)
    minute: Integer = field("Minute of the scheduled departure.", example="15", required=True, ge=0, le=59)
    time_hour: Timestamp = field("Scheduled departure, to the hour.", example="2013-01-01T10:00:00Z", required=True)

    class Config:
        """The type's name, key, null marker and presets."""

        name = "flights"
        metadata = {
            "key": ("time_hour", "carrier", "flight", "origin"),
            "null_markers": ("NA",),
            "presets": {
                "delays": ("time_hour", "carrier", "flight", "origin", "dest", "dep_delay", "arr_delay"),
                "route": ("time_hour", "carrier", "flight", "origin", "dest", "distance", "air_time"),
            },
        }
