"""What every test shares: a quiet, offline, seeded process, the programs a test may want, and one local Ray.

A program that is not there makes its tests skip on a desk and fail in CI, both times with the command that brings it.
"""

from __future__ import annotations

import os

# Before torch or a tokenizer is imported: they read these once. Worker processes inherit them.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # bit-equality is promised at one thread; the tests run as two processes
os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed otherwise looks for an accelerator at import
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that reaches for a hub is a wrong test
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("AWS_ACCESS_KEY_ID", "testing")  # for the S3 server of a test; without them a client asks the network
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "testing")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "120")  # a busy machine is slow, not broken
os.environ.setdefault("RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S", "120")
os.environ.setdefault("RAY_worker_niceness", "0")  # as the tests themselves, which hold times to bounds; Ray's own is 15
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences Ray's notice about machines without a GPU
os.environ.pop("MLFLOW_TRACKING_URI", None)  # a user's own books are none of a test's

import random
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as behind a shell's `&`: what tests start would not hear Ctrl-C either
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every test, whichever ran before. torch is seeded only where a test has imported it."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def assets() -> Path:
    """Small files that the tests carry with them."""
    return REPOSITORY / "tests" / "assets"


def _need(program: str, *names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    message = f"got no {program} on this machine; expected one of {', '.join(names)}; run `make system`"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def requires_ffmpeg() -> str:
    """Path of the ffmpeg program."""
    return _need("ffmpeg", "ffmpeg")


@pytest.fixture(scope="session")
def requires_chromium() -> str:
    """Path of a Chromium that can run headless."""
    return _need("Chromium", "chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def requires_chromedriver() -> str:
    """Path of the WebDriver of that Chromium."""
    return _need("ChromeDriver", "chromedriver")


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray of two CPUs and four pretended GPUs here for the whole session, its workers able to import the checkout."""
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=4,  # pretended, so that a test sees what a profile gives to whom
        include_dashboard=False,
        object_store_memory=512 * 1024**2,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(REPOSITORY)}},
    )
    yield
    ray.shutdown()
