# SPDX-License-Identifier: GPL-2.0-only
"""What of the machine, and not of the tree, ended a build."""

import re
import shutil
import tempfile
from pathlib import Path

from ci.base.errors import BuildError, PipelineError, StageError

FULL_BYTES = 1_000_000
TROUBLE = re.compile(
    # ld: final link failed: No space left on device; vfork: Resource temporarily unavailable
    r"No space left on device|Disk quota exceeded|File too large"
    r"|Input/output error|Cannot allocate memory|virtual memory exhausted|out of memory allocating"
    r"|Too many open files|Resource temporarily unavailable"
    # gcc: fatal error: Killed signal terminated program cc1; ld terminated with signal 9 [Killed]
    r"|Killed signal terminated program|terminated with signal 9|File size limit exceeded"
    # make[3]: *** [Makefile:9: a.o] Killed; make: *** [x] Error 137, what a shell ends with then
    r"|\*\*\* \[.*\] (?:Killed|Terminated|Error 137)"
)


def failed_build(message: str, output: str, folder: Path, log: Path) -> PipelineError:
    """The error for a build that failed below ``folder`` and said ``output``: a StageError where
    the machine is to blame, as its words or its disks tell, else a BuildError of ``message``."""
    if found := TROUBLE.search(output):
        begin, end = output.rfind("\n", 0, found.start()) + 1, output.find("\n", found.end())
        line = output[begin : end if end >= 0 else None].strip()[:300]
        return StageError("build", f"the machine ended the build, not the tree: {line}", log=log)
    for place in (folder, Path(tempfile.gettempdir())):
        if shutil.disk_usage(place).free < FULL_BYTES:
            what = f"no space left for {place}; `inv clean --cache` frees some"
            return StageError("build", what, log=log)
    return BuildError("build", message, log=log)
