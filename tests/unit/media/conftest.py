from __future__ import annotations

import pytest

from tests.unit.media.clips import ClipFolder


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipFolder:
    """Numbered clips in every container and codec that PyAV can write, made when first used."""
    return ClipFolder(tmp_path_factory.mktemp("clips"))
