# SPDX-License-Identifier: GPL-2.0-only
"""What a guest printed, as outcomes and complaints. Pure."""
