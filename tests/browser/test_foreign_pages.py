"""A page of another origin in a real browser can neither launch nor read anything of a running `records ui`."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from resources.record_store import RecordStore
from tests.records import contact, write_csv
from tests.serving import Server

pytestmark = pytest.mark.xdist_group("servers")

RUNS = "{ runsOrError { ... on Runs { results { runId } } } }"
SELECTOR = '{repositoryLocationName: "records", repositoryName: "__repository__", pipelineName: "preview_import"}'
MUTATION = (
    "mutation { launchRun(executionParams: {selector: %s, "
    'runConfigData: "{account: ua, record_type: contacts, path: %s}"}) { __typename } }'
)
ATTACK = """
async ({ui, files, mutation, seconds}) => {
  const body = JSON.stringify({query: mutation});
  const asked = "/graphql?query=" + encodeURIComponent(mutation);
  const frame = (attributes) => new Promise((done) => {
    const element = Object.assign(document.createElement("iframe"), attributes);
    element.onload = () => done(element);
    document.body.append(element);
    setTimeout(() => done(element), seconds * 1000);
  });
  const loaded = (url) => new Promise((done) => {
    const image = new Image();
    image.onload = () => done("loaded");
    image.onerror = () => done("refused");
    image.src = url;
  });
  const fetched = async (url, options) => {
    try {
      const answer = await fetch(url, options);
      return answer.type === "opaque" ? "opaque" : await answer.text();
    } catch (error) { return "refused"; }
  };
  const submitted = async (type) => {
    const name = "target-" + type.length;
    await frame({name});
    const form = Object.assign(document.createElement("form"), {method: "post", action: ui + asked, target: name});
    form.enctype = type;
    // As text/plain the one field reads as JSON.
    const field = Object.assign(document.createElement("input"), {name: body.slice(0, -1) + ', "x": "', value: '"}'});
    form.append(field);
    document.body.append(form);
    const done = new Promise((done) => setTimeout(done, 1000));
    form.submit();
    await done;
  };
  const socket = () => new Promise((done) => {
    const socket = new WebSocket(ui.replace("http", "ws") + "/graphql", "graphql-ws");
    socket.onopen = () => done("opened");
    socket.onerror = () => done("refused");
  });
  const script = (url) => new Promise((done) => {
    const element = Object.assign(document.createElement("script"), {src: url});
    element.onload = () => done("loaded");
    element.onerror = () => done("refused");
    document.head.append(element);
  });
  const seen = {};
  seen.image = await loaded(ui + asked);
  seen.picture = await loaded(ui + "/favicon.png");
  seen.script = await script(ui + "/vendor/graphiql/react.production.min.js");
  seen.text = await fetched(ui + "/graphql", {method: "POST", mode: "no-cors", body});
  seen.credentials = await fetched(ui + "/graphql", {method: "POST", mode: "no-cors", credentials: "include", body});
  seen.blind = await fetched(ui + asked, {mode: "no-cors"});
  seen.json = await fetched(ui + "/graphql", {method: "POST", headers: {"Content-Type": "application/json"}, body});
  seen.beacon = navigator.sendBeacon(ui + "/graphql", new Blob([body], {type: "text/plain"}));
  seen.read = await fetched(ui + "/graphql?query=" + encodeURIComponent("{ version }"));
  seen.page = await fetched(ui + "/");
  seen.logs = await fetched(ui + "/download_debug/1");
  seen.report = await fetched(ui + "/report_asset_materialization/records/contacts?partition=ua",
    {method: "POST", mode: "no-cors"});
  seen.file = await fetched(files);
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) await submitted(type);
  seen.socket = await socket();
  seen.frames = [];
  for (const src of [ui + "/", ui + "/graphql", ui + asked, files]) {
    const element = await frame({src});
    let text = "foreign";
    try { text = element.contentDocument === null ? "foreign" : element.contentDocument.body.innerHTML; } catch {}
    seen.frames.push(text);
  }
  return seen;
}
"""
"""What a page did to the UI at an address, and what it read."""


@pytest.fixture(scope="module")
def report(server: Server, store: RecordStore) -> str:
    """The secret address of a report, which an attacker would not know."""
    file = write_csv(server.home / "in.csv", [contact(1), contact(2, status="VIP")])
    batch_id = server.records("preview", str(file), "-a", "ua", "-t", "contacts")["batch_id"]
    path = store.account("ua").batch(batch_id).link_token
    files = json.loads((server.home / "ui.json").read_text())["files"]
    return f"{files}/{batch_id}/{path}/report"


@pytest.fixture(scope="module")
def evil() -> Iterator[str]:
    """The port of a server on this machine that serves foreign pages."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>evil</title><body>cute cats</body>")

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        yield str(pages.server_port)
        pages.shutdown()


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        executable = shutil.which("chromium")
        yield playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", *arguments])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser that resolves any name below evil.test to this machine, as DNS rebinding does."""
    with chromium("--host-resolver-rules=MAP *.evil.test 127.0.0.1") as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    yield page
    page.close()


def mutation(server: Server) -> str:
    return MUTATION % (SELECTOR, server.home / "in.csv")


def launched(server: Server) -> list[Any]:
    """Return the runs that exist; the sensors of an idle home start none."""
    runs: list[Any] = server.ask(RUNS)["runsOrError"]["results"]
    return runs


def test_the_attack_would_launch_a_run(server: Server, report: str) -> None:
    """Prove that the mutation itself is valid, so that only its origin can be the reason for a refusal."""
    before = launched(server)
    assert server.ask(mutation(server))["launchRun"]["__typename"] == "LaunchRunSuccess"
    assert len(launched(server)) == len(before) + 1


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "cats.evil.test"])
@pytest.mark.parametrize("target", ["127.0.0.1", "localhost"])
def test_a_page_of_another_origin_launches_and_reads_nothing(
    name: str, target: str, server: Server, report: str, evil: str, page: Page
) -> None:
    before, materialised = launched(server), server.materialisations("contacts", "ua")
    address = f"http://{target}:{urlsplit(server.url).port}"
    page.goto(f"http://{name}:{evil}/")

    seen = page.evaluate(ATTACK, {"ui": address, "files": report, "mutation": mutation(server), "seconds": 10})

    assert launched(server) == before
    assert [each for each in server.materialisations("contacts", "ua") if each not in materialised] == []
    frames = seen.pop("frames")
    assert seen == {
        **dict.fromkeys(("image", "picture", "script", "json", "read", "page", "logs", "file", "socket"), "refused"),
        # A page cannot read an opaque answer or the result of a beacon. The runs show that both were refused.
        **{name: seen[name] for name in ("text", "credentials", "blind", "report", "beacon")},
    }
    assert {seen[name] for name in ("text", "credentials", "blind", "report")} <= {"opaque", "refused"}
    assert frames == ["foreign"] * 4
    assert all("Dagster" not in frame.content() for frame in page.frames)


@pytest.mark.parametrize("which", ["the UI", "the files"])
def test_a_name_that_was_bound_to_this_machine_is_not_answered(
    which: str, server: Server, report: str, page: Page
) -> None:
    """With DNS rebinding the browser sees the page and the server as one origin. Only the guard stops it."""
    before = launched(server)
    address = urlsplit(server.url if which == "the UI" else report)
    origin = f"http://cats.evil.test:{address.port}"

    answer = page.goto(f"{origin}{address.path}")

    assert answer is not None
    assert answer.status == 421
    assert "RECORDS_UI_HOSTS" in answer.text()
    status = page.evaluate(
        """async (query) => (await fetch("/graphql", {
          method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({query})
        })).status""",
        mutation(server),
    )
    assert status == 421
    assert launched(server) == before


def test_a_link_of_another_site_opens_the_page_and_asks_for_nothing(
    server: Server, evil: str, report: str, page: Page
) -> None:
    """The guard lets a link in a message pass, even with a mutation in its address, and the mutation does not run."""
    before = launched(server)
    page.goto(f"http://cats.evil.test:{evil}/")
    with page.expect_navigation():
        page.evaluate("(url) => { location.href = url }", f"{server.url}/runs")
    expect(page.get_by_text("Runs").first).to_be_visible(timeout=60_000)
    page.goto(f"http://cats.evil.test:{evil}/")
    with page.expect_navigation():
        page.evaluate("(url) => { location.href = url }", f"{server.url}/graphql?query={quote(mutation(server))}")
    expect(page.get_by_text("GraphQL is not accepted in an address")).to_be_visible()
    assert launched(server) == before


def test_the_secret_address_of_a_report_goes_to_no_other_site(server: Server, report: str, page: Page) -> None:
    """No request for a resource of the report's page, and no link from it, sends the address as referrer."""
    requests: list[tuple[str, str]] = []
    page.on("request", lambda request: requests.append((request.url, request.headers.get("referer", ""))))
    page.goto(report)
    page.evaluate(
        "(url) => { const a = document.createElement('a'); a.href = url; document.body.append(a); a.click() }",
        server.url,
    )
    page.wait_for_url(f"{server.url}/**")
    assert [url for url, _ in requests if url.startswith(server.url)]
    assert [
        url for url, referrer in requests if urlsplit(report).path in referrer or urlsplit(report).netloc in referrer
    ] == []
