# SPDX-License-Identifier: GPL-2.0-only
"""Whole runs on a machine where something goes wrong for real: the right exit code, one clear
message, nothing left running or half made, and the next run is complete and right."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.base.test_seals import put_zeros
from tests.commands.machine import NAMESPACE, Done, Machine, make_machine
from tests.commands.test_faults import needs_mounts
from tests.kills import KILLS, try_kills

pytestmark = pytest.mark.whole
ACCEPTED = "accepted (exit 0)"
SEEN, NEW = 0, 1  # numbers of patches: one that the cache knows, one that it does not


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, dict[str, bytes]]]:
    """A machine whose cache knows a patch, with the verdict on it."""
    machine = make_machine(tmp_path_factory.mktemp("machine"))
    done = machine.run(machine.words(SEEN))
    assert done.returncode == 0 and done.stdout.startswith(ACCEPTED), done
    assert "from the record" not in done.stderr
    said = machine.verdict()
    machine.words(NEW)
    shutil.copytree(machine.cache, machine.base / "pristine", symlinks=True)
    yield machine, said
    shutil.rmtree(machine.base)


@pytest.fixture
def machine(made: tuple[Machine, dict[str, bytes]]) -> Iterator[Machine]:
    """The machine with its cache as it was; whatever a test does to it, nothing is left running."""
    one, _ = made
    shutil.rmtree(one.cache)
    # The repository's files keep their times, or git would look at each again.
    shutil.copytree(one.base / "pristine", one.cache, symlinks=True)
    yield one
    assert one.all_gone(), one.processes()
    assert one.leftovers() == []
    one.put_vng()


def ends_with_3(done: Done, *words: str) -> bool:
    """Whether a command found out nothing, and says why: in one message, not by a traceback."""
    said = done.stdout + done.stderr
    print(said)
    return (
        done.returncode == 3
        and "Traceback" not in said
        and "rejected" not in said
        and len(re.findall("^error: ", done.stderr, re.M)) <= 1
        and all(re.search(word, said) for word in words)
    )


def is_right(machine: Machine, done: Done, said: dict[str, bytes]) -> bool:
    """Whether a run came to the verdict that the patch deserves."""
    print(done.stdout + done.stderr)
    return done.returncode == 0 and machine.verdict() == said


# What is damaged, below the cache; put_zeros, or a size that it is cut to.
DAMAGE = {
    "kernels/*/bzImage": None,
    "kernels/*/kernel.json": 20,
    "images/*/root.cpio": None,
    "roots/*/root.tar": 512,
    "selftests/*/selftests/net/mptcp/userspace_pm.sh": 0,
    "runs/*/tests.log": 0,
    "runs/*/kernel.log": None,
    "runs/*/end.json": 30,
    "runs/*/digests.json": 0,
    "trees/*/src/.git/index": 100,
    "trees/*/src/.git/HEAD": 0,
}


def test_what_is_damaged_is_made_again(
    machine: Machine, made: tuple[Machine, dict[str, bytes]]
) -> None:
    for pattern, size in DAMAGE.items():
        files = list(machine.cache.glob(pattern))
        for file in files:
            put_zeros(file) if size is None else os.truncate(file, size)
        done = machine.run(machine.words(SEEN))
        assert files and is_right(machine, done, made[1]), pattern
        told = [line for line in done.stderr.splitlines() if line.startswith("| cache: ")]
        assert len(told) == len(files), pattern
        assert all("is damaged (" in line and "made again" in line for line in told)
        done = machine.run(machine.words(SEEN))
        assert is_right(machine, done, made[1]) and "| cache: " not in done.stderr


def test_a_damaged_object_is_not_linked(
    machine: Machine, made: tuple[Machine, dict[str, bytes]]
) -> None:
    (other,) = machine.cache.glob("trees/*/obj/net/other.o")
    put_zeros(other)
    done = machine.run(machine.words(NEW))
    assert is_right(machine, done, made[1]) and "net/other.o is not what was built" in done.stderr


def test_the_times_of_files_jump(machine: Machine, made: tuple[Machine, dict[str, bytes]]) -> None:
    day = 24 * 3600 * 10**9
    for number, step in ((NEW, day), (2, -day)):
        for path in (*machine.cache.rglob("*"), *(machine.base / "kernel").rglob("*")):
            if path.is_file() and not path.is_symlink():
                written = path.stat().st_mtime_ns + step
                os.utime(path, ns=(written, written))
        assert is_right(machine, machine.run(machine.words(number)), made[1])


# Where a disk is mounted that is full but for so many KB, and whether what the cache knew is on it:
# each ends in another stage.
DISKS = [("cache", False, size) for size in (16, 64, 160, 320)]
DISKS += [("cache", True, size) for size in (0, 12, 24, 36)]
DISKS += [("project/results", False, size) for size in (4, 16, 40)]
DISKS += [("tmp", False, size) for size in (4, 12)]
FULL = "No space left|no space left|Out of diskspace|nothing can be written"


@pytest.mark.parametrize(("place", "warm", "size"), DISKS)
def test_a_full_disk(place: str, warm: bool, size: int, machine: Machine) -> None:
    needs_mounts()
    folder, words = machine.base / place, machine.words(NEW)
    script = f"""
        mount -t tmpfs none {folder}
        {warm:d} && cp -a {machine.base}/pristine {folder}/{machine.cache.name}
        used=$(df -k --output=used {folder} | tail -n 1)
        mount -o remount,size=$((used + {size}))k {folder}
        "$0" "$@"; echo "first $?"
        find {machine.cache} -name '.new-*' -o -name '.old-*' | sed 's/^/left /'
        mount -o remount,size=200m {folder}
        "$0" "$@" 2>{machine.base}/second; echo "second $?"
    """
    script = script.replace("0 && ", ": ").replace("1 && ", "")
    done = subprocess.run(
        [*NAMESPACE, "sh", "-c", script, *machine.inv, *words],
        cwd=machine.project,
        env=machine.env,
        capture_output=True,
        text=True,
    )
    first, _, second = done.stdout.partition("first ")
    if size == 0 or second[0] != "0":  # a few KB may do
        assert ends_with_3(Done(words, int(second[0]), first, done.stderr), FULL)
    assert "\nsecond 0\n" in second and "left " not in second, done
    assert ACCEPTED in second


@pytest.mark.parametrize("blocks", [0, 1, 16, 64])
def test_no_file_may_grow(blocks: int, machine: Machine) -> None:
    done = machine.run(machine.words(NEW), f"ulimit -f {blocks};")
    assert ends_with_3(done, "File too large|could not be run|No space|SIGXFSZ|signal 25")
    assert machine.run(machine.words(NEW)).returncode == 0


def test_a_cache_or_results_that_cannot_be_written(machine: Machine) -> None:
    needs_mounts()
    for folder in (machine.cache.parent, machine.project / "results"):
        words = f"mount --bind {folder} {folder}; mount -o remount,bind,ro {folder};"
        done = machine.run(machine.words(NEW), words, mounts=True)
        assert ends_with_3(done, "Read-only file system")


@pytest.mark.parametrize("files", [8, 16, 24, 32])
def test_few_files_may_be_open(files: int, machine: Machine) -> None:
    done = machine.run(machine.words(NEW), f"ulimit -n {files};")
    assert done.returncode == 0 or ends_with_3(done, "Too many open files|No file descriptors")
    assert machine.run(machine.words(NEW)).returncode == 0


GUESTS = {
    "vng ends at once": ("exit 1", ""),
    "vng is killed": ("kill -9 $$", ""),
    "the guest is killed during the test": ("", "kill -9 $$"),
    "vng hangs": ("sleep 1000", ""),
    "the guest hangs": ("", "sleep 1000"),
    "its helpers hang behind it": ("setsid sleep 1000 & kill -9 $$", ""),
}


@pytest.mark.parametrize("trouble", GUESTS)
def test_a_guest_that_fails_on_both_sides(
    trouble: str, machine: Machine, made: tuple[Machine, dict[str, bytes]]
) -> None:
    shutil.rmtree(machine.cache / "runs")
    limits = machine.project / "ci/guest/vm.py"
    whole = limits.read_text(encoding="utf-8")
    text = whole
    for long, short in (("_S = 120.0", "_S = 2.0"), ("limit * WALL_FACTOR + 60 * slow\n", "3.0\n")):
        assert text.count(long) == 1
        text = text.replace(long, short)
    limits.write_text(text, encoding="utf-8")
    machine.put_vng(*GUESTS[trouble])
    assert ends_with_3(machine.run(machine.words(SEEN)))
    assert machine.all_gone()
    limits.write_text(whole, encoding="utf-8")
    machine.put_vng()
    assert is_right(machine, machine.run(machine.words(SEEN)), made[1])


def test_vng_is_missing(machine: Machine, made: tuple[Machine, dict[str, bytes]]) -> None:
    shutil.rmtree(machine.cache / "runs")
    (machine.base / "venv/bin/vng").unlink()
    done = machine.run(machine.words(SEEN), f"PATH={machine.base / 'tools'}:/usr/bin:/bin;")
    assert ends_with_3(done, "vng is not installed; install the Python package virtme-ng")
    machine.put_vng()
    assert is_right(machine, machine.run(machine.words(SEEN)), made[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal(
    number: signal.Signals, machine: Machine, made: tuple[Machine, dict[str, bytes]]
) -> None:
    words = machine.words(10 + number)
    for after_s in (0.7, 2.0, 3.5):
        us = machine.start(words)
        time.sleep(after_s)
        us.send_signal(number)
        out, err = us.communicate(timeout=60)
        ended = Done(words, us.returncode, out, err)
        assert us.returncode == 0 or ends_with_3(ended, "interrupted"), ended
        assert machine.all_gone(), machine.processes()
        assert machine.leftovers() == []
    assert is_right(machine, machine.run(words), made[1])


def test_two_pipelines_on_one_cache(
    machine: Machine, made: tuple[Machine, dict[str, bytes]]
) -> None:
    """The same patch twice, and another one, on a cache that has nothing."""
    shutil.rmtree(machine.cache)
    runs = [machine.start(machine.words(number)) for number in (30, 30, 31)]
    for us in runs:
        out, err = us.communicate(timeout=300)
        assert us.returncode == 0 and ACCEPTED in out, err
        assert "| cache: " not in err
    assert is_right(machine, machine.run(machine.words(30)), made[1])


def test_the_next_run_is_right_whenever_one_was_killed(machine: Machine) -> None:
    lines = list(try_kills(machine, KILLS, seed=KILLS))
    assert len(lines) == KILLS + 1
    assert [line for line in lines if not line.startswith("right")] == []
    assert any(": killed after " in line for line in lines)
