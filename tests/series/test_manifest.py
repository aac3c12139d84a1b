# SPDX-License-Identifier: GPL-2.0-only
"""ci.series.manifest: what series.toml may say; each wrong value is told with its place, before
anything is fetched."""

from pathlib import Path

import pytest

from ci.base.errors import StageError
from ci.series import manifest
from ci.series.manifest import MustFlip, PatchFacts
from tests.conftest import write

WHOLE = """
name = "x"
base_commit = "{commit}"
base_url = "https://example.org/x.git"
change_id = "c"
message_id = "m@example.org"
suite = "smoke"
[[patch]]
number = 2
message_id = "m2@example.org"
fixes = "df377be38725"
affects_since = "v5.14"
introduced = {{ path = "net", text = "x" }}
depends = [1]
[[must_flip]]
script = "s"
case = "c"
patches = [1, 2]
"""


def test_all_that_it_may_say(tmp_path: Path) -> None:
    write(tmp_path, {"series.toml": WHOLE.format(commit="a1" * 20)})
    told = manifest.read_manifest(tmp_path / "series.toml", {1, 2})
    assert (told.name, told.base_commit, told.base_url) == (
        "x",
        "a1" * 20,
        "https://example.org/x.git",
    )
    assert (told.change_id, told.message_id, told.suite) == ("c", "m@example.org", "smoke")
    assert told.patches == {
        2: PatchFacts("m2@example.org", "df377be38725", (5, 14), ("net", "x"), (1,))
    }
    assert told.must_flip == (MustFlip("s", "c", (1, 2)),)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("name = 7", "name has to be a text"),
        ("suite = ['smoke']", "suite has to be a text"),
        ('suite = "a\\u0000b"', "suite has to be a text"),
        ('base_url = "x\\ny"', "base_url has to be a text"),
        ("patch = 7", "patch has to be a list, each row a table"),
        ("patch = [7]", "patch has to be a list, each row a table"),
        ("must_flip = {}", "must_flip has to be a list, each row a table"),
        ("scripts = []", "unknown key 'scripts'"),
        ("base_commit = 'main'", "no full commit id"),
        ("[[patch]]\nnumber = true", "number has to be a number"),
        ("[[patch]]\nnumber = 1.0", "number has to be a number"),
        ("[[patch]]\nfixes = 'x'", "number None has no patch file"),
        ("[[patch]]\nnumber = 9", "number 9 has no patch file"),
        ("[[patch]]\nnumber = 1\n[[patch]]\nnumber = 1", "number 1 is there twice"),
        ("[[patch]]\nnumber = 1\nscripts = ['x']", "unknown key 'scripts'"),
        ("[[patch]]\nnumber = 1\naffects_since = 5.14", "affects_since has to be a text"),
        ("[[patch]]\nnumber = 1\naffects_since = '5'", "'5' is not a kernel version"),
        ("[[patch]]\nnumber = 1\nintroduced = 'x'", "introduced has to be a table"),
        ("[[patch]]\nnumber = 1\nintroduced = { path = 'x' }", "introduced needs path and text"),
        (
            "[[patch]]\nnumber = 1\nintroduced = { path = 'x', text = 1 }",
            "introduced: text has to be a text",
        ),
        ("[[patch]]\nnumber = 1\ndepends = ['2']", "depends has to be a list, each row a number"),
        ("[[patch]]\nnumber = 1\ndepends = [7]", "depends on 7"),
        ("[[must_flip]]\nscript = 'x'", "needs script and case"),
        ("[[must_flip]]\nscript = 'x'\ncase = 3", "case has to be a text"),
        ("[[must_flip]]\nscript = 'x'\ncase = 'y'\npatches = [1, 3]", "there is no patch 3"),
        ("[[must_flip]]\nscript = 'x'\ncase = 'y'\npatches = [true]", "patches has to be a list"),
        ("x = " + "[" * 5000, "series.toml"),
        ("name = ", "series.toml"),
    ],
)
def test_what_is_wrong_is_told(toml: str, said: str, tmp_path: Path) -> None:
    write(tmp_path, {"series.toml": toml})
    with pytest.raises(StageError) as caught:
        manifest.read_manifest(tmp_path / "series.toml", {1, 2})
    assert said in caught.value.message and f"{tmp_path}/series.toml" in caught.value.message


def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "series.toml").mkdir()
    with pytest.raises(StageError, match="no file"):
        manifest.read_manifest(tmp_path / "series.toml", {1})
    (tmp_path / "bytes.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(StageError, match=r"bytes\.toml"):
        manifest.read_manifest(tmp_path / "bytes.toml", {1})
