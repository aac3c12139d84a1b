# SPDX-License-Identifier: GPL-2.0-only
"""What memory a guest's kernel holds after a script that it did not hold before. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ci.logs.control import Control

PAGE = 4096
# What init says of pages that are counted by themselves; those of stacks are in KiB.
COUNTED = (
    "nr_free_pages",
    "nr_anon_pages",
    "nr_file_pages",
    "nr_slab_reclaimable",
    "nr_slab_unreclaimable",
    "nr_page_table_pages",
    "ready",
    "percpu",
)
STACKS = "nr_kernel_stack"


@dataclass(frozen=True)
class Growth:
    """So many objects more, of so many bytes each."""

    objects: int
    size: int


def read_growth(control: Control) -> Mapping[str, Growth] | None:
    """By the name of the cache, as in /proc/slabinfo; ``pages`` are those that nothing counts:
    taken one by one, or by vmalloc. None where nothing was counted before, or after."""
    before, after = (_caches(control, moment) for moment in ("before", "after"))
    if not before or not after:
        return None
    found = {
        name: Growth(now.objects - before.get(name, Growth(0, now.size)).objects, now.size)
        for name, now in after.items()
    }
    return {name: growth for name, growth in found.items() if growth.objects}


def least_growth(growths: Sequence[Mapping[str, Growth]]) -> Mapping[str, Growth]:
    """What grew each time, and by how much at least."""
    shared = set(growths[0]).intersection(*growths)
    return {
        name: min((one[name] for one in growths), key=lambda growth: growth.objects)
        for name in growths[0]
        if name in shared
    }


def _caches(control: Control, moment: str) -> dict[str, Growth]:
    found = {}
    for words in control.records.get(f"{moment}-cache", []):
        if len(words) == 3 and words[1].isdecimal() and words[2].isdecimal():
            found[words[0]] = Growth(int(words[1][:18]), int(words[2][:9]))
    pages = {
        words[0]: int(words[1][:18])
        for words in control.records.get(f"{moment}-pages", [])
        if len(words) == 2 and words[1].isdecimal()
    }
    if found and {*COUNTED, STACKS} <= set(pages):
        counted = sum(pages[name] for name in COUNTED) + pages[STACKS] * 1024 // PAGE
        found["pages"] = Growth(-counted, PAGE)
    return found
