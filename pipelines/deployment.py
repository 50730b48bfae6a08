"""The client of the Dagster deployment. It uses HTTP, because importing Dagster takes longer than most exports."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resources.running_ui import RunningUi
from resources.settings import Settings
from schemas.errors import NoDeployment, RecordsError

if TYPE_CHECKING:
    from resources.export_writer.plan import ExportPlan

_SECONDS = 30
_POLL_SECONDS = 0.2
_REPOSITORIES = (
    "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } jobs { name } } } } }"
)
_HEARTBEATS = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
_ADD_PARTITION = """
mutation ($repository: RepositorySelector!, $partition: String!) {
  addDynamicPartition(repositorySelector: $repository, partitionsDefName: "accounts", partitionKey: $partition) {
    __typename
    ... on PythonError { message }
  }
}
"""
_LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""


_RUNS = """
query ($tag: ExecutionTag!) {
  runsOrError(filter: {tags: [$tag], statuses: [QUEUED, NOT_STARTED, STARTING, STARTED, CANCELING]}) {
    ... on Runs { results { runId status } }
  }
}
"""
_TERMINATE = """
mutation ($id: String!, $policy: TerminateRunPolicy) {
  terminateRun(runId: $id, terminatePolicy: $policy) { __typename }
}
"""
_CANCEL_SECONDS = 5.0
"""How long a cancelled run may take to end by itself."""

_EXPORT_TAG = "records/export"


@dataclass(frozen=True)
class SubmittedRun:
    """A run that is queued or has begun."""

    run_id: str
    url: str


class Deployment:
    """A deployment of this code location. Its address is a setting, or the one in `ui.json`."""

    def __init__(self, settings: Settings) -> None:
        self._url = address_of(settings)

    def submit(
        self, job: str, account: str, config: dict[str, Any], tags: Mapping[str, str] | None = None
    ) -> SubmittedRun:
        """Launch a run of a job for an account, with this config and these tags. Returns the run.

        Raises NoDeployment if no deployment answers, and RecordsError if it refuses the run.
        """
        nodes = self._ask(_REPOSITORIES)["repositoriesOrError"].get("nodes", [])
        found = [node for node in nodes if any(each["name"] == job for each in node["jobs"])]
        if not found:
            raise RecordsError(
                f"The deployment at {self._url} has no job {job}.",
                "Check that it loads this code, or export in this process: --foreground.",
            )
        names = {"repositoryName": found[0]["name"], "repositoryLocationName": found[0]["location"]["name"]}
        self._ask(_ADD_PARTITION, repository=names, partition=account)
        params = {
            "selector": names | {"pipelineName": job},
            "runConfigData": config,
            "executionMetadata": {
                "tags": [
                    {"key": key, "value": value}
                    for key, value in ({"dagster/partition": account} | dict(tags or {})).items()
                ]
            },
        }
        launched = self._ask(_LAUNCH, params=params)["launchRun"]
        if launched["__typename"] != "LaunchRunSuccess":
            why = launched.get("message") or "; ".join(each["message"] for each in launched.get("errors", []))
            raise RecordsError(
                f"The deployment at {self._url} refused the run: {why or launched['__typename']}.",
                "Export in this process: --foreground.",
            )
        run_id = launched["run"]["runId"]
        return SubmittedRun(run_id, f"{self._url}/runs/{run_id}")

    def silent_daemons(self) -> list[str]:
        """Returns the names of Dagster's daemons that are required and give no heartbeat. Raises NoDeployment."""
        listed = self._ask(_HEARTBEATS)["instance"]["daemonHealth"]["allDaemonStatuses"]
        return [each["daemonType"] for each in listed if each["required"] and not each["healthy"]]

    def submit_export(self, plan: "ExportPlan") -> SubmittedRun:
        """Launch the run that makes a planned export. Returns the run. Raises what `submit` raises.

        If the deployment refuses it, nothing is left of the plan.
        """
        name = plan.selection.record_type.name
        config = {"ops": {f"exports__{name}": {"config": {"export_id": plan.export_id}}}}
        try:
            return self.submit(f"export_{name}", plan.request.account, config, {_EXPORT_TAG: plan.export_id})
        except NoDeployment:
            raise
        except BaseException:
            plan.clear()
            raise

    def is_exporting(self, export_id: str) -> bool:
        """Returns whether a run makes this export, or will. False if no deployment answers."""
        try:
            return bool(self._runs_of(export_id))
        except RecordsError:
            return False

    def cancel_export(self, export_id: str) -> None:
        """End the runs that make this export, if there are any. Raises NoDeployment if the deployment is gone."""
        if self._url is None:
            return
        until = time.monotonic() + _CANCEL_SECONDS
        for run in self._runs_of(export_id):
            self._ask(_TERMINATE, id=run, policy="SAFE_TERMINATE")
        while (left := self._runs_of(export_id)) and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        for run in left:
            self._ask(_TERMINATE, id=run, policy="MARK_AS_CANCELED_IMMEDIATELY")

    def _runs_of(self, export_id: str) -> list[str]:
        found = self._ask(_RUNS, tag={"key": _EXPORT_TAG, "value": export_id})["runsOrError"].get("results", [])
        return [run["runId"] for run in found]

    def _ask(self, query: str, **variables: Any) -> Any:
        if self._url is None:
            raise NoDeployment("No deployment runs: there is no ui.json, and RECORDS_DAGSTER_URL is not set.")
        body = json.dumps({"query": query, "variables": variables}).encode()
        try:
            request = urllib.request.Request(  # noqa: S310 - the address is the operator's
                f"{self._url}/graphql", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
                result = json.load(answer)
        except urllib.error.HTTPError as error:  # 421: the host is not in RECORDS_UI_HOSTS
            error.close()
            raise NoDeployment(
                f"The server at {self._url} refused the request: HTTP {error.code} {error.reason}.",
                "Check that RECORDS_DAGSTER_URL is the address of Dagster, and that its host is in RECORDS_UI_HOSTS.",
            ) from error
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise NoDeployment(f"No deployment answers at {self._url}.") from error
        if result.get("errors"):
            raise RecordsError(f"The deployment at {self._url} refused the query: {result['errors'][0]['message']}.")
        return result["data"]


def address_of(settings: Settings) -> str | None:
    """Returns the address of the deployment, if known: the setting, else the one that `records ui` wrote."""
    running = RunningUi.of(settings)
    return settings.dagster_url or (running.url if running is not None else None)
