"""One browser for the tests of a module."""

from __future__ import annotations

import pytest

from tests.web.browsing import driven_browser


@pytest.fixture(scope="module")  # a driver that lives on leaves an event loop running
def browser():
    with driven_browser() as chromium:
        yield chromium
