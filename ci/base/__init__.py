# SPDX-License-Identifier: GPL-2.0-only
"""What everything uses: errors, exit codes, processes, git, the workspace, text, progress."""
