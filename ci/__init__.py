# SPDX-License-Identifier: GPL-2.0-only
"""The pipeline: packages along the data flow, see README.md beside."""
