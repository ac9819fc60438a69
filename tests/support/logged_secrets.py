"""A watch over everything that is logged while tests run: records in which a known secret stands."""

from __future__ import annotations

import logging

# Secrets that tests hand to the product under these words. Whatever a logger is given, they are not in it: redaction
# by the service log is the second line, and has tests of its own.
CANARIES = (
    "upstream-canary",
    "sk-canary",
    "person-canary",
    "canary4711",
    "proof-canary",
    "session=canary",
    "basic canary",
    "secret prompt canary",
    "canary-of-plaintext",
)


class SecretsWatch(logging.Handler):
    """Remembers every record in which a canary stands, in its message, its arguments, its extras or its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter())
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = f"{self.format(record)} {record.__dict__}".lower()
        except (TypeError, ValueError):
            text = repr(record.__dict__).lower()
        self.found += [f"{record.name}: {text}" for canary in CANARIES if canary in text]


LEAKS = SecretsWatch()
