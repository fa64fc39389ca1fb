"""Checkouts for the scripts with Docker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.checkout import Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def started(checkout: Checkout) -> Checkout:
    done = checkout.run("start.sh", "--docker")
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout
