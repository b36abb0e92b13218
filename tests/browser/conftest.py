"""One Chromium for all tests, a fresh tab for each, and a look at what it did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from selenium import webdriver

from tests.browser.browser import Browser, running_driver


@pytest.fixture(scope="session")
def driver() -> Iterator[webdriver.Chrome]:
    """A Chromium that runs."""
    with running_driver() as running:
        yield running


@pytest.fixture
async def browser(driver: webdriver.Chrome) -> AsyncIterator[Browser]:
    """A tab; at its end nothing has been asked of anybody but the relay."""
    await asyncio.to_thread(driver.switch_to.new_window, "tab")
    browser = Browser(driver)
    await browser.read_logs()  # of the tab before
    browser.requests.clear()
    browser.messages.clear()
    yield browser
    await browser.read_logs()
    await asyncio.to_thread(driver.close)
    await asyncio.to_thread(driver.switch_to.window, driver.window_handles[0])
    if browser.stays_at_home:
        assert [each for each in browser.requests if not each.startswith("http://localhost:")] == []


@pytest.fixture
async def quiet_console(browser: Browser) -> AsyncIterator[None]:
    """Nothing goes wrong in the page itself."""
    yield
    await browser.read_logs()
    assert browser.messages == []
