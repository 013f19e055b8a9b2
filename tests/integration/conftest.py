"""What the integration tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.bulk import talking_checkpoint


@pytest.fixture(scope="session")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that grounds what it says."""
    return talking_checkpoint(tmp_path_factory.mktemp("talker") / "fake")
