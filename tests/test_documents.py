# SPDX-License-Identifier: GPL-2.0-only
"""What the documents name is there: files, tasks with their options, keys, packages."""

import functools
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import tasks
from ci.base.command_line import mistake
from ci.commands.rules import PACKAGES
from ci.series import manifest
from tests.conftest import ROOT

WORDS = 700  # what a maintainer reads in a minute or two
# Paths of the kernel's tree, and of what a run writes.
ELSEWHERE = ("include/", "net/", "results/", "tools/", "uapi/")
# Names without a folder that can only be files of this repository.
OURS = re.compile(r"[\w.-]+\.(?:py|toml|yml|S|config|txt)")
PATH = re.compile(r"[\w.][\w./-]*")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
SPAN = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
# `inv plan --on base`, "$ inv verify", "... | inv apply --series -"
INV = re.compile(r"(?:^|[`|$] ?)inv\b([^`\n]*)", re.M)


@functools.cache
def tracked() -> list[str]:
    """The files of the repository, and those that will be, as git names them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def documents() -> list[str]:
    """Every Markdown file of the project."""
    return [name for name in tracked() if name.endswith(".md")]


def read(name: str) -> str:
    """A file's text."""
    return (ROOT / name).read_text(encoding="utf-8")


def named_paths(text: str) -> Iterator[str]:
    """The words in backquotes that can only be paths of this repository."""
    for word in SPAN.findall(FENCE.sub("", text)):
        if not PATH.fullmatch(word) or word.startswith(ELSEWHERE):
            continue
        if "/" in word or OURS.fullmatch(word):
            yield word


def is_there(word: str) -> bool:
    """Whether a path, of the repository or from some folder in it, names a file or a folder.
    `6.1/0001` is the backport of that number, and `0002-...-x` one that ends so."""
    pattern = re.escape(word.rstrip("/")).replace(r"\.\.\.", ".*")
    return any(re.search(rf"/{pattern}(?:/|-|\.patch$|$)", f"/{file}") for file in tracked())


@pytest.mark.parametrize("document", documents())
def test_every_path_is_there(document: str) -> None:
    text = read(document)
    assert [word for word in named_paths(text) if not is_there(word)] == []
    links = LINK.findall(text)
    assert [link for link in links if not (ROOT / document).parent.joinpath(link).exists()] == []


def test_the_code_names_documents_that_are_there() -> None:
    for name in tracked():
        if name.endswith((".py", ".sh", ".toml", ".yml")) and name != "tests/test_documents.py":
            found = re.findall(r"[\w/-]+\.md\b", read(name))
            # A run writes a summary.
            missing = [one for one in found if not one.endswith("summary.md") and not is_there(one)]
            assert missing == [], name


def test_a_path_that_is_gone_is_seen() -> None:
    text = "`ci/gone.py`, `gone.toml`, `tools/testing`, `a b`\n```\n`ci/not-looked-at.py`\n```\n"
    found = list(named_paths(text))
    assert found == ["ci/gone.py", "gone.toml"] and not any(map(is_there, found))
    assert is_there("ci/series") and is_there("manifest.py") and not is_there("ci/ser")


@pytest.mark.parametrize("document", documents())
def test_every_command_is_one(document: str) -> None:
    found = [line.partition("  #")[0] for line in INV.findall(read(document))]
    wrong = {line: mistake(tasks.ns, shlex.split(line) or ["--list"]) for line in found}
    assert {line: why for line, why in wrong.items() if why} == {}


def test_a_wrong_command_is_seen() -> None:
    lines = INV.findall("`inv plan --onn base`, `invent`\n$ inv verify --times 3\ncat | inv gone -")
    assert lines == [" plan --onn base", " verify --times 3", " gone -"]
    said = [mistake(tasks.ns, shlex.split(line)) for line in lines]
    assert [bool(words) for words in said] == [True, False, True]


def test_the_readme_is_short() -> None:
    assert len(read("README.md").split()) <= WORDS


def test_every_key_of_series_toml_is_explained(tmp_path: Path) -> None:
    text = read("kernel-patches/README.md")
    section = text.partition("\n## series.toml\n")[2].partition("\n## ")[0]
    tables = (manifest.TOP, manifest.PATCH, manifest.INTRODUCED, manifest.FLIP, manifest.ALLOW)
    keys = {key for table in tables for key in table}
    nested = {"patch", "must_flip", "allow"}
    assert (keys - nested) | {f"[[{key}]]" for key in nested} <= set(SPAN.findall(section))
    example = re.search(r"```toml\n(.*?)```", section, re.S)
    assert example
    (tmp_path / "series.toml").write_text(example[1], encoding="utf-8")
    facts = manifest.read_manifest(tmp_path / "series.toml", {1, 2})
    assert facts.patches[2].depends == (1,) and facts.must_flip[0].patches == (1, 2)


def test_the_packages_stand_in_their_order() -> None:
    rows = re.findall(r"^\| `ci/(\w+)` \|", read("ci/README.md"), re.M)
    assert rows[: len(PACKAGES)] == PACKAGES
