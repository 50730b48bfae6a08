"""Notices by HTTP: each is accepted once, retried or given up. Receivers are independent; addresses stay secret."""

import logging
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from resources import notifier as notifier_module
from resources.notifier import Notifier
from resources.settings import Settings
from schemas.errors import InvalidRequest
from schemas.notice_cursor import Entry, NoticeCursor, Position
from schemas.notices import Message
from tests.http_receiver import Receiver, receiving

NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
MESSAGE = Message("ua: an import of contacts waits for approval", "in.csv, 2 records.\nü — €", "warning")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def other() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def of(settings: Settings, *receivers: Receiver) -> Notifier:
    return Notifier(replace(settings, notify=tuple(receiver.url for receiver in receivers)))


def log(*numbers: int, at: datetime = NOW) -> list[Entry]:
    """Return entries of a log; those of odd numbers have a message."""
    return [Entry(each, at, replace(MESSAGE, title=str(each)) if each % 2 else None) for each in numbers]


def after(entries: Sequence[Entry], number: int) -> list[Entry]:
    return [entry for entry in entries if entry.number > number]


def send_new(notifier: Notifier, cursor: NoticeCursor, entries: Sequence[Entry], minutes: float = 0) -> NoticeCursor:
    """Send the new entries. The text of the cursor must have everything for the next tick."""
    reached = notifier.send_new(cursor, lambda number: after(entries, number), NOW + timedelta(minutes=minutes))
    assert NoticeCursor.parse(str(reached)) == reached
    return reached


def test_a_message_is_posted(settings: Settings, receiver: Receiver) -> None:
    notifier = of(settings, receiver)
    assert notifier.send(notifier.receivers[0], MESSAGE)
    (posted,) = receiver.posted
    assert (posted["title"], posted["message"], posted["type"]) == (MESSAGE.title, MESSAGE.body, "warning")


@pytest.mark.parametrize("status", [500, 404, 301])
def test_a_refused_message_is_not_accepted(settings: Settings, receiver: Receiver, status: int) -> None:
    receiver.status = status
    notifier = of(settings, receiver)
    assert not notifier.send(notifier.receivers[0], MESSAGE)


def test_a_receiver_that_hangs_and_one_that_is_not_there_fail_soon(
    settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.status = 0
    hanging = Notifier(replace(settings, notify=(receiver.url.replace("rto=8", "rto=0.2"),)))
    began = time.monotonic()
    assert not hanging.send(hanging.receivers[0], MESSAGE)  # by the timeout of the address
    monkeypatch.setattr(notifier_module, "_SECONDS_A_MESSAGE", 0.2)
    notifier = of(settings, receiver)
    assert not notifier.send(notifier.receivers[0], MESSAGE)  # by the notifier's timeout
    assert time.monotonic() - began < 6
    gone = Notifier(replace(settings, notify=("json://127.0.0.1:9/",)))
    assert not gone.send(gone.receivers[0], MESSAGE)


def test_entries_are_notified_once_and_in_order(settings: Settings, receiver: Receiver) -> None:
    entries = log(1, 2, 3, 4)
    cursor = send_new(of(settings, receiver), NoticeCursor(0), entries)
    assert (receiver.titles, cursor, str(cursor)) == (["1", "3"], NoticeCursor(4), "4")
    assert send_new(of(settings, receiver), cursor, entries) == cursor
    send_new(of(settings, receiver), cursor, [*entries, *log(5)])
    assert receiver.titles == ["1", "3", "5"]


def test_a_message_that_was_not_accepted_is_retried_ever_more_rarely_and_then_given_up(
    settings: Settings, receiver: Receiver
) -> None:
    entries, cursor, tries = log(2, 3, 4, 5), NoticeCursor(0), []
    receiver.status = 500
    for minute in range(30):
        before = receiver.asked
        cursor = send_new(of(settings, receiver), cursor, entries, minute)
        if receiver.asked > before:
            tries.append(minute)
    assert tries == [0, 1, 3, 6, 10, 15, 21, 28]
    assert cursor.number == 2
    receiver.status = 200
    assert send_new(of(settings, receiver), cursor, entries, 35) == cursor
    assert send_new(of(settings, receiver), cursor, entries, 36) == NoticeCursor(5)
    assert receiver.titles == ["3", "5"]


def test_what_is_a_day_old_is_passed_over_and_logged(
    settings: Settings, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 500
    entries = [*log(1, 2, 3), *log(5, at=NOW + timedelta(hours=1))]
    cursor = send_new(of(settings, receiver), NoticeCursor(0), entries)
    cursor = send_new(of(settings, receiver), cursor, entries, 24 * 60 - 1 / 60)
    assert (cursor.number, receiver.asked) == (0, 2)
    receiver.status = 200
    assert send_new(of(settings, receiver), cursor, entries, 24 * 60) == NoticeCursor(5)
    assert receiver.titles == ["5"]
    assert "(json): skipped 2 messages older than a day, the last one '3'." in caplog.text


def test_one_receiver_holds_up_no_other_and_none_is_notified_twice(
    settings: Settings, receiver: Receiver, other: Receiver
) -> None:
    both = [receiver, other]
    receiver.status = 500
    cursor = send_new(of(settings, *both), NoticeCursor(0), log(1, 2))
    cursor = send_new(of(settings, *both), cursor, log(1, 2, 3), 0.5)
    assert (receiver.titles, other.titles, cursor.number) == ([], ["1", "3"], 3)
    (behind,) = cursor.behind.values()
    assert behind == Position(0, 1, NOW)
    receiver.status = 200
    cursor = send_new(of(settings, *both), cursor, log(1, 2, 3), 1)
    assert (receiver.titles, other.titles, cursor) == (["1", "3"], ["1", "3"], NoticeCursor(3))


def test_a_new_receiver_begins_where_the_others_are_and_one_that_is_gone_is_forgotten(
    settings: Settings, receiver: Receiver, other: Receiver
) -> None:
    receiver.status = 500
    cursor = send_new(of(settings, receiver), NoticeCursor(0), log(1))
    assert send_new(of(settings, other), cursor, log(1, 2, 3)) == NoticeCursor(3)
    assert other.titles == ["1", "3"]


def test_a_tick_ends_in_time_and_the_next_one_goes_on(
    settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(notifier_module, "_SECONDS_A_TICK", -1.0)
        assert send_new(of(settings, receiver), NoticeCursor(0), log(2, 3)) == NoticeCursor(2)
    send_new(of(settings, receiver), NoticeCursor(2), log(2, 3))
    assert receiver.titles == ["3"]


def test_addresses_are_in_no_log_and_no_error(
    settings: Settings, receiver: Receiver, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for status in (200, 500):
        receiver.status = status
        notifier = of(settings, receiver)
        notifier.send(notifier.receivers[0], MESSAGE)
    for wrong in ("nonsense://canary-token/", "json://:canary-password@", "slack://canary-token", "canary-token"):
        with pytest.raises(InvalidRequest) as refused:
            Notifier(replace(settings, notify=(receiver.url, wrong)))
        assert "RECORDS_NOTIFY, address 2" in refused.value.message
        assert "canary" not in str(refused.value)
        assert refused.value.__cause__ is refused.value.__context__ is None
    seen = repr(settings) + repr(replace(settings, notify=(receiver.url,))) + str(notifier.receivers)
    out, err = capfd.readouterr()
    assert "did not accept the message" in caplog.text
    assert "canary" not in seen + caplog.text + out + err


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("", ()),
        (" , ", ()),
        ("json://a/ xml://b/", ("json://a/", "xml://b/")),
        ("json://a/,xml://b/ ,\n slack://c", ("json://a/", "xml://b/", "slack://c")),
        ("mailto://u:p@h?to=a@b,c@d, json://a", ("mailto://u:p@h?to=a@b,c@d", "json://a")),
    ],
)
def test_addresses_are_separated_by_spaces_or_commas(text: str, addresses: tuple[str, ...]) -> None:
    assert Settings.from_environment({"RECORDS_NOTIFY": text}).notify == addresses


def test_apprise_is_imported_for_an_address_only() -> None:
    program = """
import sys
from resources.notifier import Notifier
from resources.settings import Settings
Notifier(Settings.from_environment({}))
assert "apprise" not in sys.modules
Notifier(Settings.from_environment({"RECORDS_NOTIFY": "json://127.0.0.1/"}))
assert "apprise" in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)
