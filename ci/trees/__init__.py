# SPDX-License-Identifier: GPL-2.0-only
"""Base and patched trees: where a kernel comes from, and a series taken out and put on."""
