# SPDX-License-Identifier: GPL-2.0-only
"""Evidence of both kernels, compared and judged. Pure."""
