"""`Visitor`: what a person does on the pages, by plain forms."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from httpx2 import Response
from starlette.testclient import TestClient

_SECONDS = 60


@dataclass
class Visitor:
    """A person who uses one account. `headers` are those that a login server adds."""

    client: TestClient
    account: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def get(self, *parts: str, **query: str) -> Response:
        """Open a page of the account."""
        return self.client.get("/".join(("/a", self.account, *parts)), params=query, headers=dict(self.headers))

    def post(self, *parts: str, data: Mapping[str, str | Sequence[str]] | None = None) -> Response:
        """Send a form to a page of the account."""
        path = "/".join(("/a", self.account, *parts))
        headers = {"Content-Type": "application/x-www-form-urlencoded", **self.headers}
        return self.client.post(path, data=dict(data or {}), headers=headers)

    def upload(self, content: bytes, name: str = "people.csv", record_type: str = "contacts") -> str:
        """Upload a file by the form. Returns the id of the upload."""
        answer = self.client.post(
            f"/a/{self.account}/import",
            data={"type": record_type},
            files={"file": (name, content)},
            headers=dict(self.headers),
        )
        assert answer.status_code == 303, answer.text
        return answer.headers["location"].rpartition("/")[2]

    def step(self, upload: str) -> str:
        """Returns the address of the page that the upload leads to, when it has been read."""
        until = time.monotonic() + _SECONDS
        while time.monotonic() < until:
            answer = self.get("import", upload)
            if answer.status_code == 303:
                return answer.headers["location"].removeprefix(f"/a/{self.account}/")
            assert answer.status_code == 200, answer.text
            if 'id="progress"' not in answer.text:
                return "import"
        raise AssertionError("the file is still being read")
