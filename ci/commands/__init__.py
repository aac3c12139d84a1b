# SPDX-License-Identifier: GPL-2.0-only
"""What a user asks for: a module for each task, or for a few."""
