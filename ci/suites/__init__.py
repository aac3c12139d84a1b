# SPDX-License-Identifier: GPL-2.0-only
"""What there is to run: collections of selftests, and suites of their scripts."""
