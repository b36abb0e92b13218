"""A Chromium that a test drives: what it shows, what it logs, and what it asks of whom.

Its driver blocks while it works, so each step runs in a thread: relay and upstream are in this
process, and go on meanwhile. Waiting is the page's own business, in the page.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains

from tests.harness import FUSE_SECONDS

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_MISSING: Final = (
    "the tests of the page need Chromium and its driver, and there is no {}; "
    "on Debian: apt-get install chromium chromium-driver"
)
# No service of the browser's own asks anybody anything.
_OPTIONS: Final = (
    "--headless=new",
    "--no-sandbox",  # in containers there is none to be had
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--lang=en-GB",
)
# In traces: what tells a page's thread, and a task of its.
_MARK: Final = "page of the relay"
_TASK: Final = "ThreadControllerImpl::RunTask"
# In the page: an answer once the condition holds. No event says that "something" has changed.
_UNTIL: Final = """
const [condition, done] = [arguments[0], arguments[arguments.length - 1]];
const holds = new Function("return " + condition);
const timer = setInterval(() => { if (holds()) { clearInterval(timer); done(true); } }, 20);
"""


def _find(*names: str) -> str:
    """Return a program's path; without it the test fails, and says what to do."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail(_MISSING.format(" or ".join(names)), pytrace=False)
    return found


@contextmanager
def running_driver(*, traces: bool = False) -> Iterator[webdriver.Chrome]:
    """Run Chromium for the length of the context; it may trace what its threads do."""
    options = Options()
    options.binary_location = _find(*_NAMES)
    for option in _OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    if traces:
        options.add_experimental_option(
            "perfLoggingPrefs", {"traceCategories": "toplevel,blink.user_timing"}
        )
        options.page_load_strategy = "none"  # or it asks the page how far it has come
    driver = webdriver.Chrome(options, Service(_find("chromedriver")))
    driver.set_script_timeout(FUSE_SECONDS)
    driver.set_page_load_timeout(FUSE_SECONDS)
    try:
        yield driver
    finally:
        driver.quit()


class Browser:
    """One tab of it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self._driver = driver
        self.requests: list[str] = []
        """The address of everything that was asked for."""
        self.messages: list[str] = []
        """What the console said, warnings and errors alone."""
        self.stays_at_home = True
        """Whether nobody but the relay may be asked for anything."""

    async def open(self, port: int) -> None:
        """Open the page of the relay at this port, and wait for its first event."""
        await self.go(f"http://localhost:{port}/")
        await self.until("document.querySelector('#summary').className.match(/good|bad/)")

    @asynccontextmanager
    async def tabs(self, port: int, count: int) -> AsyncIterator[None]:
        """Have so many tabs of their own show the page, for the length of the context."""
        own, others = self._driver.current_window_handle, []
        for _ in range(count):
            await asyncio.to_thread(self._driver.switch_to.new_window, "window")
            others.append(self._driver.current_window_handle)
            await self.open(port)
        yield
        for other in others:
            await asyncio.to_thread(self._driver.switch_to.window, other)
            await asyncio.to_thread(self._driver.close)
        await asyncio.to_thread(self._driver.switch_to.window, own)

    async def go(self, address: str) -> None:
        """Open an address."""
        await asyncio.to_thread(self._driver.get, address)

    async def run(self, script: str, *arguments: object) -> Any:  # noqa: ANN401  # whatever the script returns
        """Run a script in the page and return what it returns."""
        return await asyncio.to_thread(self._driver.execute_script, script, *arguments)

    async def wait_for(self, script: str, *arguments: object) -> Any:  # noqa: ANN401  # as above
        """Run a script that calls back, and return what it says."""
        return await asyncio.to_thread(self._driver.execute_async_script, script, *arguments)

    async def until(self, condition: str) -> None:
        """Wait until a condition, in the page's own language, holds."""
        await self.wait_for(_UNTIL, condition)

    async def says(self, selector: str, text: str) -> None:
        """Wait until an element has this text in it."""
        await self.until(
            f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})"
        )

    async def text(self, selector: str) -> str:
        """Return what an element shows."""
        script = "return document.querySelector(arguments[0]).innerText"
        return str(await self.run(script, selector)).strip()

    async def press(self, *keys: str) -> None:
        """Press keys, one after another."""
        await asyncio.to_thread(ActionChains(self._driver).send_keys(*keys).perform)

    async def command(self, name: str, **parameters: object) -> dict[str, Any]:
        """Give the browser a command of the Chrome DevTools Protocol."""
        done = await asyncio.to_thread(self._driver.execute_cdp_cmd, name, parameters)
        return dict(done)

    async def resize(self, width: int, height: int = 900, scale: float = 1) -> None:
        """Give the page another size."""
        await self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )

    async def prefer(self, scheme: str) -> None:
        """Prefer light, or dark, and that nothing moves."""
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        named = [{"name": name, "value": value} for name, value in features.items()]
        await self.command("Emulation.setEmulatedMedia", features=named)

    async def ignore_policy(self) -> None:
        """Take away the Content-Security-Policy of pages that are opened from now on."""
        await self.command("Page.setBypassCSP", enabled=True)

    async def picture(self) -> bytes:
        """Return what is shown, as a PNG."""
        shot = await self.command("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])

    async def mark_pages(self) -> None:
        """Have the pages opened from now on be told from the browser's own, in traces."""
        source = f"performance.mark({json.dumps(_MARK)})"
        await self.command("Page.addScriptToEvaluateOnNewDocument", source=source)

    async def task_seconds(self) -> list[float]:
        """Return what each task of the marked pages' main thread has taken of the CPU.

        And not how long it lasted: on a machine that is busy with something else that is longer.
        """
        tasks, pages = [], set()
        for entry in await asyncio.to_thread(self._driver.get_log, "performance"):
            event = json.loads(entry["message"])["message"]["params"]
            if event.get("name") == _MARK:
                pages.add((event["pid"], event["tid"]))
            elif event.get("name") == _TASK and "tdur" in event:
                tasks.append(event)
        return [each["tdur"] / 1e6 for each in tasks if (each["pid"], each["tid"]) in pages]

    async def read_logs(self) -> None:
        """Take what was logged and asked for since the last time."""
        for entry in await asyncio.to_thread(self._driver.get_log, "browser"):
            if entry["level"] in ("WARNING", "SEVERE"):
                self.messages.append(entry["message"])
        for entry in await asyncio.to_thread(self._driver.get_log, "performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
