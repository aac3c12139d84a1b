# SPDX-License-Identifier: GPL-2.0-only
"""ci.base.command_line and the tasks: each option is explained, and what is mistyped is told with
what was meant."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from invoke import Context

import tasks
from ci.base.command_line import make_task, mistake
from ci.base.settings import OPTIONS, Settings
from tests.conftest import ROOT

INV = str(Path(sys.executable).with_name("inv"))
Done = subprocess.CompletedProcess[str]


def inv(*args: str) -> Done:
    return subprocess.run([INV, *args], cwd=ROOT, capture_output=True, text=True, timeout=60)


def described(task: str) -> dict[str, str]:
    """Option -> text of ``inv --help TASK``, where the second column begins at the same place in
    each line."""
    found: dict[str, str] = {}
    name = ""
    for line in inv("--help", task).stdout.partition("Options:\n")[2].splitlines():
        if option := re.match(
            r"  (?:-\w(?: \w+)?, )?--([a-z-]+)(?:\[?=\w+\]?)?(?: |$)|  -(\w)", line
        ):
            name, line = option[1] or option[2], line[option.end() :]
            found[name] = ""
        found[name] = f"{found[name]} {line.strip()}".strip()
    return {key: value for key, value in found.items() if key}


@pytest.mark.parametrize("name", sorted(tasks.ns.task_names))
def test_every_option_of_every_task_is_explained(name: str) -> None:
    """Asked of the tasks after a parser was made of them, which is what lost the texts."""
    assert mistake(tasks.ns, [name]) == ""
    (context,) = [context for context in tasks.ns.to_contexts() if context.name == name]
    for arg in context.args.values():
        assert arg.help and len(arg.help) > 10, f"--{arg.name} of {name}"


def test_the_help_of_a_task_is_shown() -> None:
    said = described("validate")
    assert said["tree"] == "your own kernel checkout, which is only read"
    assert said["without"] == "numbers of patches not to put on, as in 1,3"
    assert said["ignore-dirty"] == "with --tree: take HEAD, leave uncommitted changes out"
    assert set(said) == {
        "series",
        "tree",
        "source",
        "adapt",
        "allow",
        "config",
        "without",
        "only",
        "suite",
        "mode",
        "seed",
        "layout",
        "ignore-dirty",
        "rerun",
        "timings",
        "cpus",
        "qemu",
        "max-slowdown",
        "no-sandbox",
    }
    assert described("clean") == {"cache": "also what was downloaded and built"}
    texts = {context.name: context.args for context in tasks.ns.to_contexts()}
    assert texts["bench"]["mode"].help == "auto, kvm, tcg or virtual (default: virtual)"
    assert (
        texts["stable"]["source"].help
        == "where the branches' kernels come from: auto, git or debian (default: auto)"
    )
    assert texts["report"]["run"].help == "folder of a stored run (default: results/latest)"


def test_without_words_the_tasks_are_listed() -> None:
    bare, listed = inv(), inv("--list")
    assert bare.returncode == listed.returncode == 0 and bare.stderr == ""
    assert (
        bare.stdout.partition("\n\n")[2] == listed.stdout.partition("\n\n")[2]
        and "\n  validate " in bare.stdout
    )


SEE_TASKS, SEE_OPTIONS = (
    "(`inv --list` shows the tasks)",
    "(`inv --help validate` shows its options)",
)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("valdate", f"there is no task 'valdate'; did you mean validate? {SEE_TASKS}"),
        ("xyzzy", f"there is no task 'xyzzy' {SEE_TASKS}"),
        ("--help valdate", f"there is no task 'valdate'; did you mean validate? {SEE_TASKS}"),
        (
            "validate --sute smoke",
            f"validate has no option --sute; did you mean --suite? {SEE_OPTIONS}",
        ),
        (
            "validate --sute=smoke",
            f"validate has no option --sute; did you mean --suite? {SEE_OPTIONS}",
        ),
        (
            "validate --ignore_drity",
            f"validate has no option --ignore_drity; did you mean --ignore-dirty? {SEE_OPTIONS}",
        ),
        (
            "validate --suite smoke aply",
            f"there is no task 'aply'; did you mean apply? {SEE_TASKS}",
        ),
        ("validate --mode", "--mode needs a value"),
        ("verify --times x", "'x' is no number"),
        (
            "--lst",
            (
                "inv has no option --lst; did you mean --list? (`inv --help` shows the options"
                " before a task)"
            ),
        ),
        ("validate --xyzzy", f"validate has no option --xyzzy {SEE_OPTIONS}"),
        ("validate --suite smoke", ""),
        ("--help validate", ""),
        ("validate --help", ""),
        ("--list", ""),
        ("", ""),
    ],
)
def test_what_was_meant(words: str, said: str) -> None:
    assert mistake(tasks.ns, words.split()) == said


@pytest.mark.parametrize("words", ["validate --sute smoke", "--help valdate"])
def test_a_mistake_is_exit_3_and_one_line(words: str) -> None:
    done = inv(*words.split())
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"error: {mistake(tasks.ns, words.split())}\n"


def test_each_option_of_the_table_is_one_of_a_task() -> None:
    contexts = tasks.ns.to_contexts()
    used = {arg.name for one in contexts for arg in one.args.values()}
    assert used == {option.name for option in OPTIONS}


def test_the_table_gives_the_signature_and_the_task_its_own_options() -> None:
    given: list[tuple[Settings, int]] = []

    def bench(settings: Settings, times: int) -> int:
        """Two lines
        of text."""
        given.append((settings, times))
        return 0

    task = make_task(bench, "mode ignore_dirty times", ROOT)
    assert task.__doc__ == "Two lines of text."
    flags = {arg.name: (arg.kind, arg.value) for arg in task.get_arguments()}
    assert flags == {"mode": (str, "virtual"), "ignore_dirty": (bool, False), "times": (int, 3)}
    task(Context(), mode="tcg", ignore_dirty=True, times=5)
    ((settings, times),) = given
    assert (settings.mode, settings.ignore_dirty, times) == ("tcg", True, 5)
