# SPDX-License-Identifier: GPL-2.0-only
"""A run as it is stored, and what is written of its verdict."""
