# SPDX-License-Identifier: GPL-2.0-only
"""A tree configured and built."""
