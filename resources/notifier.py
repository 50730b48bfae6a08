"""Notices to people, through Apprise, which reaches many services."""

import hashlib
import logging
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from resources.settings import Settings
from schemas.errors import InvalidRequest
from schemas.notice_cursor import Entry, NoticeCursor, Position
from schemas.notices import Message

if TYPE_CHECKING:
    from apprise import Apprise

_LOG = logging.getLogger(__name__)
_SECONDS_A_MESSAGE = 10.0
_SECONDS_A_TICK = 20.0


class Notifier:
    """The receivers that RECORDS_NOTIFY names, for one tick.

    An address is a secret: no log, error or event shows it. Raises InvalidRequest if Apprise cannot read an address.
    Apprise is imported only if there is an address.
    """

    def __init__(self, settings: Settings) -> None:
        self._receivers: dict[str, tuple[str, Apprise]] = {}
        self._deadline = time.monotonic() + _SECONDS_A_TICK
        for number, url in enumerate(settings.notify, 1):
            scheme, colon, _ = url.partition("://")
            shown = f"RECORDS_NOTIFY, address {number} ({scheme if colon else 'without a scheme'})"
            name = hashlib.sha256(url.encode()).hexdigest()[:12]
            self._receivers[name] = shown, _receiver(url, shown)

    @property
    def receivers(self) -> Sequence[str]:
        """Returns a name for each receiver. The name reveals nothing of the address and stays the same."""
        return list(self._receivers)

    def send(self, receiver: str, message: Message) -> bool:
        """Send a message, and return whether the receiver accepted it within some seconds. Never raises."""
        shown, apprise = self._receivers[receiver]
        accepted = threading.Event()

        def notify() -> None:
            try:
                if apprise.notify(title=message.title, body=message.body, notify_type=message.kind, body_format="text"):
                    accepted.set()
            except Exception as error:  # its text may hold the address
                _LOG.warning("%s: %s", shown, type(error).__name__)

        # The time limit of a socket does not stop a service that answers a byte at a time.
        thread = threading.Thread(target=notify, daemon=True)
        thread.start()
        thread.join(_SECONDS_A_MESSAGE)
        if not accepted.is_set():
            _LOG.warning("%s did not accept the message %r.", shown, message.title)
        return accepted.is_set()

    def send_new(
        self, cursor: NoticeCursor, entries_after: Callable[[int], Sequence[Entry]], now: datetime
    ) -> NoticeCursor:
        """Send each receiver the entries after its position, in order; returns the new cursor.

        If a receiver does not accept a message, later ticks retry it, with growing pauses. Other receivers do not wait
        for it. Messages older than a day are skipped. There must be at least one receiver.
        """
        return NoticeCursor.joining(
            {name: self._send_new(name, cursor.of(name), entries_after, now) for name in self._receivers}
        )

    def _send_new(
        self, receiver: str, position: Position, entries_after: Callable[[int], Sequence[Entry]], now: datetime
    ) -> Position:
        skipped = []
        for entry in entries_after(position.number):
            if entry.message is not None:
                if entry.is_stale(now):
                    skipped.append(entry.message.title)
                elif position.waits(now) or time.monotonic() >= self._deadline:
                    break
                elif not self.send(receiver, entry.message):
                    position = position.failed(now)
                    break
            position = Position(entry.number)
        if skipped:
            shown, _ = self._receivers[receiver]
            _LOG.error("%s: skipped %s messages older than a day, the last one %r.", shown, len(skipped), skipped[-1])
        return position


def _receiver(url: str, shown: str) -> "Apprise":
    # Both log addresses or parts of them.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from the many services that Apprise loads
        from apprise import Apprise, AppriseAsset

        receiver = Apprise(asset=AppriseAsset(app_id="records", async_mode=False, pem_autogen=False))
        if not receiver.add(url):
            raise InvalidRequest(
                f"{shown}, cannot be read.", "Give addresses as Apprise documents them, separated by spaces or commas."
            )
    return receiver
