"""`Metrics`: numbers about the store for Prometheus.

Counters of batches and exports begin when the first answer is asked for, and follow the new rows of the ledger. So an
answer costs what has happened since the last one, and never more with a longer history. The times of reads, commits and
locks are in no ledger: all processes of this machine add them to a file in the home.
"""

from collections.abc import Iterator
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from resources.backup import last_backup
from resources.disk_space import free_bytes
from resources.file_storage import files_below, is_local
from resources.health.last_check import last_check
from resources.health.last_space import last_space
from resources.measurements import Measurements, Work
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas.batches import Batch, BatchStatus

_ROWS = 10_000
"""The most rows of the ledger that one answer reads. The next one continues."""


class Metrics:
    """The metrics of one process. For several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = Lock()
        self._reached: int | None = None
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second number for each counter: when this process made it
        self._registry = registry = CollectorRegistry()
        registry.register(_Measured(Measurements(settings.home)))
        labels = ("account",) if settings.metrics_accounts else ()
        self._batches = Counter("records_batches", "Batches that got a status.", ("status", *labels), registry=registry)
        self._records = Counter(
            "records_records", "Records of committed files, by outcome.", ("outcome", *labels), registry=registry
        )
        self._exports = Counter("records_exports", "Published exports.", labels, registry=registry)
        self._export_rows = Counter("records_export_rows", "Records in exports.", labels, registry=registry)
        self._export_bytes = Counter("records_export_bytes", "Bytes of exports.", labels, registry=registry)
        self._export_seconds = Counter("records_export_seconds", "Seconds of exports.", labels, registry=registry)
        self._ledger = Gauge("records_ledger_rows", "Number of the ledger's last row.", registry=registry)
        self._waiting = Gauge("records_inbox_files", "Files that wait in the inbox.", registry=registry)
        self._oldest = Gauge(
            "records_inbox_oldest_seconds", "Age of the oldest file in the inbox; 0 without one.", registry=registry
        )
        self._free = Gauge("records_free_bytes", "Free room on a disk.", ("place",), registry=registry)
        self._backup = Gauge(
            "records_last_backup_timestamp_seconds", "Unix time of the last backup; 0 without one.", registry=registry
        )
        self._check = Gauge(
            "records_last_check_timestamp_seconds", "Unix time of the last check; 0 without one.", registry=registry
        )
        self._wrong = Gauge("records_last_check_wrong", "Things that the last check found wrong.", registry=registry)
        self._space = Gauge(
            "records_last_space_timestamp_seconds",
            "Unix time when the room was measured last; 0 if it was not.",
            registry=registry,
        )
        self._room = Gauge(
            "records_room_bytes",
            "Room that the store took then, by record type and by what it is for.",
            ("record_type", "kind", *labels),
            registry=registry,
        )
        self._reclaimable = Gauge(
            "records_reclaimable_bytes", "Room that maintenance would have freed then.", registry=registry
        )
        self._written = Gauge("records_bytes_a_day", "Bytes that the store wrote a day before then.", registry=registry)

    def text(self, store: RecordStore) -> tuple[bytes, str]:
        """Returns the metrics as text, and its media type."""
        with self._turn:
            self._follow(store)
            self._look(store)
            return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def _follow(self, store: RecordStore) -> None:
        """Count what the ledger has got since the last call."""
        if self._reached is None:
            self._reached = store.ledger_end()
        rows = store.ledger_after(self._reached, _ROWS).rows
        for seq, row in rows:
            self._reached = seq
            owner = (row.account,) if self._settings.metrics_accounts else ()
            if isinstance(row, Batch):
                self._batches.labels(row.status.value, *owner).inc()
                if row.status is BatchStatus.COMMITTED:
                    for outcome, number in vars(row.counts).items():
                        self._records.labels(outcome, *owner).inc(number)
                continue
            for counter, amount in (
                (self._exports, 1.0),
                (self._export_rows, row.rows),
                (self._export_bytes, row.bytes),
                (self._export_seconds, row.seconds or 0.0),
            ):
                (counter.labels(*owner) if owner else counter).inc(amount)
        self._ledger.set(self._reached)

    def _look(self, store: RecordStore) -> None:
        """Measure the inbox and the disks, and read when the store was backed up and checked."""
        settings = self._settings
        put_at = [file.put_at for file in files_below(settings.inbox)]
        self._waiting.set(len(put_at))
        self._oldest.set(max(0.0, (store.clock.now() - min(put_at)).total_seconds()) if put_at else 0)
        self._free.labels("home").set(free_bytes(settings.home))
        if is_local(settings.data):
            self._free.labels("data").set(free_bytes(settings.data))
        backup, check = last_backup(settings), last_check(settings)
        self._backup.set(backup.at.timestamp() if backup is not None else 0)
        self._check.set(check.at.timestamp() if check is not None else 0)
        self._wrong.set(check.wrong if check is not None else 0)
        self._look_at_room()

    def _look_at_room(self) -> None:
        """Read how much room the store took when it was measured last."""
        last = last_space(self._settings)
        self._space.set(last.at.timestamp() if last is not None else 0)
        self._room.clear()
        if last is None:
            return
        for (account, record_type), room in last.rooms.items():
            owner = (account,) if self._settings.metrics_accounts else ()
            for kind, size in vars(room).items():
                self._room.labels(record_type, kind, *owner).set(size)
        self._reclaimable.set(last.reclaimable)
        self._written.set(last.a_day)


class _Measured(Collector):
    """The work that all processes of this machine have measured, since the home was made."""

    def __init__(self, measurements: Measurements) -> None:
        self._measurements = measurements

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics of reads, commits and waits for the write lock."""
        totals = self._measurements.totals()
        read, commit = totals[Work.READ], totals[Work.COMMIT]
        yield SummaryMetricFamily(
            "records_read_seconds", "Seconds of reading and checking files.", read.number, read.seconds
        )
        yield CounterMetricFamily("records_read_bytes", "Bytes of files that were read.", read.bytes)
        yield SummaryMetricFamily(
            "records_commit_seconds",
            "Seconds of commits, with the wait for the write lock.",
            commit.number,
            commit.seconds,
        )
        waits = SummaryMetricFamily(
            "records_lock_wait_seconds", "Seconds of waits for the write lock, by how they ended.", labels=["outcome"]
        )
        for outcome, work in (("taken", Work.LOCK_TAKEN), ("busy", Work.LOCK_BUSY)):
            waits.add_metric([outcome], totals[work].number, totals[work].seconds)
        yield waits
