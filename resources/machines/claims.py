"""`Claims`: which process executes a step of a run, and what came of it. One living process at a time has a step."""

from dataclasses import dataclass

from resources.machines.database import SCHEMA, WorkTables
from resources.machines.heartbeats import is_running


@dataclass(frozen=True)
class StepKey:
    """A step of a run, and the number of its attempt, from 0."""

    run_id: str
    step: str
    attempt: int


@dataclass(frozen=True)
class Claim:
    """The process that has a step, with its counter, and whether the step has an outcome."""

    process: str | None
    beat: int | None
    is_done: bool


class Claims:
    """The table of claims. A step that was sent twice is executed once, because its second claim is refused."""

    def __init__(self, tables: WorkTables) -> None:
        self._tables = tables

    def take(self, key: StepKey, process: str) -> bool:
        """Give the step to a process. Returns False if it is done, revoked, or of a process that may live."""
        if self._taken(key, process):
            return True
        holder = self._holder(key)
        if holder is None or is_running(holder) is not False:
            return False
        self.release(holder)
        return self._taken(key, process)

    def finish(self, key: StepKey, process: str, outcome: str) -> bool:
        """Record what came of the step. Returns False, and records nothing, if another process has it meanwhile."""
        return bool(
            self._tables.execute(
                f"UPDATE {SCHEMA}.steps SET outcome = %s WHERE (run_id, step, attempt, process) = (%s, %s, %s, %s) "
                "AND outcome IS NULL RETURNING 1",
                [outcome, key.run_id, key.step, key.attempt, process],
            )
        )

    def release(self, process: str) -> list[StepKey]:
        """Take all steps away from a process that is gone. Returns them."""
        rows = self._tables.execute(
            f"UPDATE {SCHEMA}.steps SET process = NULL WHERE process = %s AND outcome IS NULL "
            "RETURNING run_id, step, attempt",
            [process],
        )
        self._tables.execute(f"DELETE FROM {SCHEMA}.processes WHERE process = %s", [process])
        return [StepKey(*row) for row in rows]

    def revoke(self, run_id: str) -> None:
        """Let the processes that execute steps of a run end."""
        self._tables.execute(f"UPDATE {SCHEMA}.steps SET is_revoked = true WHERE run_id = %s", [run_id])

    def sweep(self) -> None:
        """Remove what runs and processes have left more than eight days ago. A run may last one day.

        A wrong clock of the server does no harm: a process counts again, and a step without a claim is sent again.
        """
        for table, column in (("steps", "claimed_at"), ("processes", "beaten_at")):
            self._tables.execute(f"DELETE FROM {SCHEMA}.{table} WHERE {column} < clock_timestamp() - interval '8 days'")

    def of_run(self, run_id: str) -> dict[StepKey, Claim]:
        """Returns the claims of a run's steps."""
        rows = self._tables.execute(
            f"SELECT step, attempt, process, beat, outcome IS NOT NULL FROM {SCHEMA}.steps "
            f"LEFT JOIN {SCHEMA}.processes USING (process) WHERE run_id = %s",
            [run_id],
        )
        return {StepKey(run_id, step, attempt): Claim(*claim) for step, attempt, *claim in rows}

    def outcome(self, key: StepKey) -> str:
        """Returns what came of a step that is done."""
        ((outcome,),) = self._tables.execute(
            f"SELECT outcome FROM {SCHEMA}.steps WHERE (run_id, step, attempt) = (%s, %s, %s)",
            [key.run_id, key.step, key.attempt],
        )
        return str(outcome)

    def _taken(self, key: StepKey, process: str) -> bool:
        return bool(
            self._tables.execute(
                f"INSERT INTO {SCHEMA}.steps AS known (run_id, step, attempt, process) VALUES (%s, %s, %s, %s) "
                "ON CONFLICT (run_id, step, attempt) DO UPDATE SET process = excluded.process "
                "WHERE known.process IS NULL AND known.outcome IS NULL AND NOT known.is_revoked RETURNING 1",
                [key.run_id, key.step, key.attempt, process],
            )
        )

    def _holder(self, key: StepKey) -> str | None:
        rows = self._tables.execute(
            f"SELECT process FROM {SCHEMA}.steps WHERE (run_id, step, attempt) = (%s, %s, %s) AND outcome IS NULL",
            [key.run_id, key.step, key.attempt],
        )
        return rows[0][0] if rows else None
