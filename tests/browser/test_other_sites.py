"""Pages of other sites in the same browser: what they get to see of the relay, which is nothing.

The rules themselves are in ``tests/integration/test_page.py``; here the browser's own words decide.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.browser.browser import Browser
from tests.harness.peer import Request
from tests.harness.relay import LocalRelay, events_of
from tests.harness.upstream import Upstream, running_upstream

LINK = "<!doctype html><a id=link href={relay}/>to the relay</a>"
# Every way in which a page can ask for another's: what comes of each.
TRY = """
const [relay, done] = arguments;
const loaded = (tag, attributes) => new Promise((resolve) => {
  const element = Object.assign(document.createElement(tag), attributes);
  element.onload = () => resolve("loaded");
  element.onerror = () => resolve("refused");
  document.body.append(element);
});
const asked = (path, options) => fetch(relay + path, options).then(
  (answer) => answer.type === "opaque" ? "opaque" : answer.text(), () => "refused");
const streamed = (path) => new Promise((resolve) => {
  const stream = new EventSource(relay + path);
  stream.onmessage = (event) => resolve(event.data);
  stream.onerror = () => { stream.close(); resolve("refused"); };
});
Promise.all([
  asked("/calls"), asked("/events"), asked("/"), asked("/metrics"), asked("/static/page.js"),
  asked("/calls", { method: "POST", body: "x" }),
  streamed("/events"),
  loaded("script", { src: relay + "/static/page.js", type: "module" }),
  loaded("script", { src: relay + "/static/page.js" }),
  loaded("script", { src: relay + "/calls" }),
  loaded("img", { src: relay + "/static/icon.svg" }),
  loaded("link", { href: relay + "/static/page.css", rel: "stylesheet" }),
]).then(done);
"""
FRAME = """
const [relay, done] = arguments;
const frame = document.createElement("iframe");
frame.onload = () => {
  let seen = "nothing";
  try { seen = frame.contentDocument?.body?.innerText ?? "nothing"; } catch { }
  done([seen, frame.contentWindow.length]);
};
frame.src = relay + "/";
document.body.append(frame);
"""


@pytest.fixture
async def other_site() -> AsyncIterator[Upstream]:
    """A web server that is not the relay."""
    async with running_upstream() as site:
        yield site


async def visit(browser: Browser, site: Upstream, relay: LocalRelay, host: str) -> str:
    """Open a page of that site, under this name; return the relay's address."""
    address = f"http://localhost:{relay.admin_port}"

    def page(_: Request) -> bytes:
        body = LINK.format(relay=address).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n"
        return head % len(body) + body

    browser.stays_at_home = False
    site.answer_with(page)
    await browser.go(f"http://{host}:{site.port}/")
    return address


# Another port of this host is the same site, and another origin; another name is another site.
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_another_page_gets_nothing(
    browser: Browser, relay: LocalRelay, other_site: Upstream, host: str
) -> None:
    """By fetch, event stream, script, image, stylesheet or frame."""
    address = await visit(browser, other_site, relay, host)
    found = await browser.wait_for(TRY, address)
    assert set(found) == {"refused"}
    assert await browser.wait_for(FRAME, address) == ["nothing", 0]
    assert events_of(relay)._readers == set()


async def test_a_link_leads_to_the_page(
    browser: Browser, relay: LocalRelay, other_site: Upstream
) -> None:
    """As one in a dashboard: the page opens, with all of its parts."""
    await visit(browser, other_site, relay, "127.0.0.1")
    await browser.run("document.getElementById('link').click()")
    await browser.until("document.querySelector('#summary.good')")
    assert await browser.text("#summary") == "all is well"
