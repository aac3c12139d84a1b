# SPDX-License-Identifier: GPL-2.0-only
"""A patch series as it comes, in whatever form, read into patches."""
