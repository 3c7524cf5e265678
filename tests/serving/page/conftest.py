"""A real browser without a window, where one is installed: fixtures of the tests of the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Without these it asks its maker's machines for news.
QUIET = (
    *(
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ),
    *("--disable-component-update", "--disable-sync"),
)
PATIENCE = 15_000  # milliseconds that anything may take on a busy machine


@dataclass
class Visit:
    """A page that is open, and what went wrong on it."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def open(self, url: str) -> Visit:
        self.page.goto(url)
        return self

    def wait_until_ready(self) -> Visit:
        self.page.wait_for_selector("#state[data-state=ready]")
        return self

    def write(self, text: str) -> Visit:
        self.page.fill("#document", text)
        return self

    def summarize(self) -> str:
        self.page.click("#go")
        self.page.wait_for_selector("#cancel", state="hidden")
        self.page.wait_for_selector(".done:visible")
        return self.page.text_content(".summary")

    def choose(self, name: str, value: str, letter: str = "a") -> Visit:
        if not self.page.is_visible(f"#{letter}-{name}"):
            self.page.click(".variant details > summary")
        self.page.select_option(f"#{letter}-{name}", value)
        return self


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=[*QUIET])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """`visit(width=..., color_scheme=...)`: a page of a browser that knows nothing yet."""
    contexts = []

    def make(width: int = 1200, height: int = 800, **about: Any) -> Visit:
        context = browser.new_context(viewport={"width": width, "height": height}, **about)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        made = Visit(context.new_page())
        made.page.on("console", lambda message: made.said.append(f"{message.type}: {message.text}"))
        made.page.on("pageerror", lambda error: made.said.append(f"error: {error}"))
        made.page.on("request", lambda request: made.asked.append(request.url))
        return made

    yield make
    for context in contexts:
        context.close()
