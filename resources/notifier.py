"""Notices to people, by whichever services the setting names: Apprise knows how to reach them."""

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
from schemas.notice_cursor import Entry, Reached, Told, all_told
from schemas.notices import Message

if TYPE_CHECKING:
    from apprise import Apprise

_LOG = logging.getLogger(__name__)
_SECONDS_A_MESSAGE = 10.0
_SECONDS_A_TICK = 20.0


class Notifier:
    """The receivers that RECORDS_NOTIFY names, for the length of one tick.

    An address is a secret: it is in no log, no error and no event. Raises InvalidRequest for one that Apprise cannot
    read. Without an address Apprise is not imported.
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
        """The receivers, each by a name that tells nothing of its address and stays the same."""
        return list(self._receivers)

    def send(self, receiver: str, message: Message) -> bool:
        """Whether the receiver has taken the message, within some seconds. Never raises."""
        shown, apprise = self._receivers[receiver]
        taken = threading.Event()

        def notify() -> None:
            try:
                if apprise.notify(title=message.title, body=message.body, notify_type=message.kind, body_format="text"):
                    taken.set()
            except Exception as error:  # its text may have the address
                _LOG.warning("%s: %s", shown, type(error).__name__)

        # A service that answers a byte at a time is beyond any time limit of a socket.
        thread = threading.Thread(target=notify, daemon=True)
        thread.start()
        thread.join(_SECONDS_A_MESSAGE)
        if not taken.is_set():
            _LOG.warning("%s has not taken the message %r.", shown, message.title)
        return taken.is_set()

    def tell(self, told: Told, entries_after: Callable[[int], Sequence[Entry]], now: datetime) -> Told:
        """Each receiver is told what it was not told yet, in order; returns how far they are.

        One that does not take a message is tried again at later ticks, ever more rarely, and holds up no other. What
        is a day old is passed over. There must be a receiver.
        """
        return all_told({name: self._tell(name, told.of(name), entries_after, now) for name in self._receivers})

    def _tell(
        self, receiver: str, reached: Reached, entries_after: Callable[[int], Sequence[Entry]], now: datetime
    ) -> Reached:
        passed_over = []
        for entry in entries_after(reached.number):
            if entry.message is not None:
                if entry.is_stale(now):
                    passed_over.append(entry.message.title)
                elif reached.waits(now) or time.monotonic() >= self._deadline:
                    break
                elif not self.send(receiver, entry.message):
                    reached = reached.failed(now)
                    break
            reached = Reached(entry.number)
        if passed_over:
            shown, _ = self._receivers[receiver]
            told = f"{len(passed_over)} messages of more than a day ago are passed over, the last one"
            _LOG.error("%s: %s %r.", shown, told, passed_over[-1])
        return reached


def _receiver(url: str, shown: str) -> "Apprise":
    # Both write addresses, or parts of them, into their logs.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the many services that are loaded with the one that is wanted
        from apprise import Apprise, AppriseAsset

        receiver = Apprise(asset=AppriseAsset(app_id="records", async_mode=False, pem_autogen=False))
        if not receiver.add(url):
            raise InvalidRequest(
                f"{shown}, cannot be read.", "Write addresses as Apprise has them, with spaces or commas between."
            )
    return receiver
