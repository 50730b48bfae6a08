"""Parts of an export, written by several threads and given in order."""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue

from resources.export_writer.parts import write_part
from resources.export_writer.plan import ExportPlan
from resources.record_store.export_source import ExportSource

Progress = Callable[[int, int], None]
"""Called with the number of records done and the number of all records."""

_AT_ONCE = 2
"""Parts that are written at a time."""

_RETRY_SECONDS = 0.05
"""How often statements that are still running are interrupted, until all have ended."""


def write_parts(plan: ExportPlan, source: ExportSource, progress: Progress | None) -> Generator[Path]:
    """Yield all parts in order, each as soon as it is written, while later ones are being written.

    No part is being written any more once the generator is closed or has raised. Raises what `write_part` raises.
    """
    numbers = range(len(plan.parts))
    if len(numbers) == 1 or plan.selection.since is not None:  # two comparisons of snapshots may exceed the memory
        for number in numbers:
            part = write_part(plan, number, source)
            _report(progress, plan, number)
            yield part
        return
    with source.split(_AT_ONCE) as sources, ThreadPoolExecutor(_AT_ONCE) as threads:
        idle: SimpleQueue[ExportSource] = SimpleQueue()
        for each in sources:
            idle.put(each)

        def write(number: int) -> Path:
            mine = idle.get()
            try:
                return write_part(plan, number, mine)
            finally:
                idle.put(mine)

        writing = deque(threads.submit(write, number) for number in numbers[: _AT_ONCE + 1])
        try:
            for number in numbers:
                part = writing[0].result()
                writing.popleft()
                writing.extend(threads.submit(write, later) for later in numbers[number + _AT_ONCE + 1 :][:1])
                _report(progress, plan, number)
                yield part
        except BaseException:
            for future in writing:
                future.cancel()
            while wait(writing, _RETRY_SECONDS).not_done:  # an interrupt between two statements has no effect
                for each in sources:
                    each.interrupt()
            raise


def _report(progress: Progress | None, plan: ExportPlan, number: int) -> None:
    if progress is not None:
        progress(plan.rows_before(number + 1), plan.rows)
