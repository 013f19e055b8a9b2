"""A double of the examiner that never ends."""

import resource
from typing import Any


def main(*_: Any) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
    while True:
        pass
