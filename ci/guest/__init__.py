# SPDX-License-Identifier: GPL-2.0-only
"""A kernel and a script in a guest: its root, its machine, its end, its record."""
