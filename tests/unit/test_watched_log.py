"""The watch over the log sees what it is there to see: a canary in a record, wherever it stands."""

from __future__ import annotations

import logging

import pytest
from tests.support.canaries import CANARIES
from tests.support.logged_secrets import LEAKS

LOGGER = logging.getLogger("safeconduct.web.test_of_the_watch")


def by_message():
    LOGGER.debug("key upstream-canary-1")


def by_argument():
    LOGGER.warning("key %s", b"Upstream-Canary-1")


def by_extra():
    LOGGER.info("refused", extra={"key": "sk-canary"})


def by_traceback():
    try:
        raise ValueError("sk-canary")
    except ValueError:
        LOGGER.exception("failed")


@pytest.mark.parametrize("leak", [by_message, by_argument, by_extra, by_traceback])
def test_a_secret_that_is_logged_is_noticed(leak):
    leak()
    assert LEAKS.found
    LEAKS.found.clear()
    # Other tests hand out credentials that begin like these.
    CANARIES.forgiven()
