"""The worker that tests start: as `records serve --role worker`, but it stops where a test says.

It looks for files in HOLD, such as `before-make_part` and `after-make_part`. While there is one for a step that it has
claimed, it waits before the step, or between the step and its outcome, and says so with a file `at-…` of its process.
If there is a file `no-outcome`, the database does not answer when it writes the next outcome.
"""

import os
import re
import time
from pathlib import Path
from typing import Any

from pipelines import celery_worker
from resources.machines.claims import Claims, StepKey
from schemas.errors import StoreUnreachable

HOLD = Path(os.environ["HOLD"])
_executed = celery_worker._Step._executed
_finish = Claims.finish


def _held(self: Any, packed: Any, executable_dict: Any) -> Any:
    (step,) = re.findall(r"'([\w.]+)(?:\[\w+\])?'", str(packed["step_keys_to_execute"]))
    op = step.rpartition(".")[2]
    _wait(f"before-{op}")
    done = _executed(self, packed, executable_dict)
    _wait(f"after-{op}")
    return done


def _wait(name: str) -> None:
    while (HOLD / name).exists():
        (HOLD / f"at-{name}").write_text(str(os.getpid()))
        time.sleep(0.02)


def _finished(self: Claims, key: StepKey, process: str, outcome: str) -> bool:
    try:
        (HOLD / "no-outcome").unlink()
    except FileNotFoundError:
        return _finish(self, key, process, outcome)
    raise StoreUnreachable("PostgreSQL does not answer.", "Try again.")


celery_worker._Step._executed = _held  # type: ignore[method-assign]
Claims.finish = _finished  # type: ignore[method-assign]

if __name__ == "__main__":
    celery_worker.main()
