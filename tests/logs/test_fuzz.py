# SPDX-License-Identifier: GPL-2.0-only
"""A small part of what ``python -m tests.logs.fuzz`` does."""

import pytest

from tests.logs import fuzz


@pytest.mark.parametrize("kind", ["tap", "mptcp", "net"])
def test_random_texts(kind: str) -> None:
    fuzz.fuzz(kind, 3, 1)
