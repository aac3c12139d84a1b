# SPDX-License-Identifier: GPL-2.0-only
"""ci.guest.pool: how many guests are still to come."""

from ci.guest import pool


def test_bases_own_scripts_count_among_the_guests_to_go() -> None:
    assert pool.to_go(7, 0) == "run: 7 guests to go"
    assert pool.to_go(7, 3) == "run: 7 guests to go, then up to 3 with base's own scripts"
