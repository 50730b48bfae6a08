"""The client of the Dagster deployment. It uses HTTP, because importing Dagster takes longer than most exports."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resources.running_ui import RunningUi
from resources.settings import Settings
from schemas.errors import NoDeployment, RecordsError

if TYPE_CHECKING:
    from resources.export_writer.plan import ExportPlan

_SECONDS = 30
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


@dataclass(frozen=True)
class SubmittedRun:
    """A run that is queued or has begun."""

    run_id: str
    url: str


class Deployment:
    """A deployment of this code location. Its address is a setting, or the one in `ui.json`."""

    def __init__(self, settings: Settings) -> None:
        self._url = address_of(settings)

    def submit(self, job: str, account: str, config: dict[str, Any]) -> SubmittedRun:
        """Launch a run of a job for an account, with this config. Returns the run.

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
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": account}]},
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
            return self.submit(f"export_{name}", plan.request.account, config)
        except NoDeployment:
            raise
        except BaseException:
            plan.clear()
            raise

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
