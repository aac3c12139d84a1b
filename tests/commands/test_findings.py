# SPDX-License-Identifier: GPL-2.0-only
"""ci.commands.findings: a small tree with kbuild's commands and scripts of its own, and real git,
make, gcc, ccache, perl and python3 in the real sandbox. Real kernels: tests.guest."""

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ci.base.progress import Progress
from ci.base.workspace import Workspace
from ci.commands import findings
from ci.kernel import build, extra_warnings, objects, tree_scripts
from ci.kernel.build import Toolchain
from ci.kernel.configuration import NORMAL
from ci.series.patch import parse_patch
from ci.suites.mptcp import COLLECTION
from ci.trees.fixes_tags import wrong_fixes
from ci.trees.source import Source
from ci.trees.tree import Tree
from ci.verdict.patch_findings import PatchFinding
from tests.conftest import commit, fingerprint, git

TOOLS = Toolchain("gcc", "ld")
MAKEFILE = """\
VERSION = 6
PATCHLEVEL = 12
allnoconfig:
\tcp $(KCONFIG_ALLCONFIG) $(O)/.config
net/%.o: FORCE
\tmkdir -p $(O)/$(@D)
\t$(if $(C),,cd $(O) && $(CC) $(if $(W),-Wall) -Wp,-MMD,$@.d -c -o $@ $(CURDIR)/net/$*.c)
\techo "deps := $(CURDIR)/net/demo.h " >$(O)/$(@D)/.$(@F).cmd
.PHONY: FORCE
"""
CHECKPATCH = """\
while (<STDIN>) {
    exit 9 if /^\\+.*crash/;
    print "net/demo.c:$.: ERROR:WORD: $1\\n" if /^\\+.*(bad)/;
    print ":$.: WARNING:SUBJECT: $1\\n" if /^Subject: \\[PATCH\\] (.*)/;
}
exit 1;
"""
GENERATOR = """\
import pathlib, sys
import jsonschema
spec = pathlib.Path(sys.argv[-1])
top = spec.parents[3]
assert (top / "MAINTAINERS").exists() and (top / "Documentation/netlink/genetlink.yaml").exists()
print("/*\\tDocumentation/netlink/specs/" + spec.name + " */\\n/* YNL-GEN uapi header */")
print("\\n".join({"one": "#define ONE\\t1", "two": "#define TWO\\t2"}[word]
      for word in spec.read_text().split()))
"""
SPEC, HEADER = "Documentation/netlink/specs/demo.yaml", "include/uapi/linux/demo.h"
TEXT = f"/*\t{SPEC} */\n/* YNL-GEN uapi header */\n#define ONE\t1\n"
DEMO = '#include "demo.h"\nint demo(void)\n{\n\tint old;\n\treturn ONE;\n}\n'
FILES = {
    "Makefile": MAKEFILE,
    "scripts/checkpatch.pl": CHECKPATCH,
    "tools/net/ynl/ynl-gen-c.py": GENERATOR,
    "Documentation/netlink/genetlink.yaml": "",
    SPEC: "one\n",
    HEADER: TEXT,
    "net/demo.h": "#define ONE 1\n",
    "net/demo.c": DEMO,
    "net/user.c": '#include "demo.h"\nint user(void) { return ONE; }\n',
    "net/unused.c": "int never_made(void) { int old; return 1; }\n",
}


class Demo:
    """A source with two commits, the second of which is trusted, and what is found of patches that
    are put on it."""

    def __init__(self, folder: Path, workspace: Workspace) -> None:
        self.slot, self.workspace, self.log = folder / "slot", workspace, folder / "build.log"
        self.src = self.slot / "src"
        self.unasked: tuple[str, ...] = ()
        self.src.mkdir(parents=True)
        git(self.src, "init", "-q", "-b", "main", "--template=")
        self.first = commit(self.src, {"Kconfig": ""}, "first: a title")
        of = commit(self.src, FILES, "base")
        self.base = Tree(Source("test", self.slot, of, ""), of, self.tree_id(of), (6, 12))

    def tree_id(self, of: str) -> str:
        return git(self.src, "rev-parse", f"{of}^{{tree}}")

    def left(self) -> set[str]:
        """What is in the slot, but for what is known of files that were read."""
        return {path.name for path in self.slot.iterdir() if not path.name.startswith("seen-")}

    def build(self) -> None:
        """What the kernel of base is made of: its objects stay."""

        def work(obj: Path) -> None:
            for name in ("demo", "user"):
                (obj / "net").mkdir(exist_ok=True)
                (obj / f"net/{name}.o").touch()
                (obj / f"net/.{name}.o.cmd").write_text("deps := ../src/net/demo.h \\\n")

        with self.base.checked_out(self.workspace):
            key = build.objects_key(TOOLS)
            objects.use_objects(self.base, key, work, self.slot / "obj", self.slot / "obj")

    def find(
        self, files: dict[str, str], message: str = "demo: change", before: Tree | None = None
    ) -> tuple[PatchFinding, ...]:
        before = before or self.base
        git(self.src, "checkout", "-q", "--force", before.commit)
        of = commit(self.src, files, message)
        after = replace(before, commit=of, tree_id=self.tree_id(of), ground=self.base)
        mail = git(self.src, "format-patch", "-1", "--stdout")
        patch = parse_patch(f"{mail}\n".encode(), Path("0001.patch"), 1)
        words = (self.workspace, TOOLS, COLLECTION, NORMAL, Progress(), self.log)
        found, self.unasked = findings.find_findings(patch, before, after, self.base, *words)
        return found

    def told(self, kind: str, files: dict[str, str], message: str = "x: y") -> list[str]:
        """What is found of one kind."""
        return [
            f"{one.file}:{one.line}: {one.text}"
            for one in self.find(files, message)
            if one.kind == kind
        ]


@pytest.fixture
def demo(tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Demo:
    monkeypatch.setattr(build, "read_fragments", lambda *_: ())
    monkeypatch.setattr(extra_warnings, "sparse_version", lambda: "")
    made = Demo(tmp_path, workspace)
    made.build()
    return made


NEW = DEMO.replace("\tint old;\n", "\tint more;\n\n\tint old;\n")


def test_only_what_is_new_is_told_and_the_objects_stay_as_they_were(demo: Demo) -> None:
    home = fingerprint(demo.slot / "obj")
    assert demo.told("warning", {"net/demo.c": NEW}) == [
        "net/demo.c:4: unused variable 'more' [-Wunused-variable]"
    ]
    assert fingerprint(demo.slot / "obj") == home
    assert demo.left() == {"src", "obj"}


def test_what_no_kernel_is_made_of_is_not_compiled_but_what_is_new_is(demo: Demo) -> None:
    worse = FILES["net/unused.c"].replace("int old;", "int more;")
    assert demo.told("warning", {"net/unused.c": worse}) == []
    assert demo.told("warning", {"net/new.c": worse}) == [
        "net/new.c:1: unused variable 'more' [-Wunused-variable]"
    ]
    assert demo.told("warning", {"net/new.c": f"{worse}int x = NOT_CONFIGURED;\n"}) == []
    assert demo.told("warning", {"tools/net/new.c": worse}) == []


def test_without_the_sandbox_it_is_the_same(demo: Demo) -> None:
    demo.workspace = replace(demo.workspace, confined=False)
    found = demo.find({"net/demo.c": NEW.replace("more", "bad"), SPEC: "two\n"})
    assert [one.kind for one in found] == ["warning", "checkpatch", "checkpatch", "netlink spec"]
    assert demo.left() == {"src", "obj"}


def test_of_many_files_some_are_looked_at(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extra_warnings, "MOST_FILES", 1)
    files = {name: f"{FILES[name]}static int more;\n" for name in ("net/demo.c", "net/user.c")}
    assert [line.partition(":")[0] for line in demo.told("warning", files)] == ["net/demo.c"]
    assert "of 2 sources, the first 1 are looked at" in capfd.readouterr().err


def test_what_includes_a_header_that_changes_is_compiled(demo: Demo) -> None:
    header = "static int unwanted(void) { return 1; }\n#define ONE 1\n"
    assert demo.told("warning", {"net/demo.h": header}) == [
        "net/demo.h:1: 'unwanted' defined but not used [-Wunused-function]"
    ]
    assert "net/user.o" in demo.log.read_text(encoding="utf-8")


def test_the_second_time_nothing_runs(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"net/demo.c": NEW.replace("more", "bad"), SPEC: "two\n"}
    found = demo.find(files)
    assert [one.kind for one in found] == ["warning", "checkpatch", "checkpatch", "netlink spec"]
    for module, name in (
        (extra_warnings, "ask_tools"),
        (tree_scripts, "check_patch"),
        (tree_scripts, "generate_header"),
    ):
        monkeypatch.setattr(module, name, None)
    assert demo.find(files) == found and demo.unasked == ()


def test_ccache_hides_no_warning(demo: Demo) -> None:
    """The trusted tree's builds write to it, so the second one's objects come from there."""
    words = (demo.workspace, TOOLS, COLLECTION, NORMAL, demo.log)
    first, second = (
        extra_warnings.ask_tools(demo.base, ["net/demo.c"], (), *words) for _ in range(2)
    )
    assert any("unused variable" in line for line in first.compiler)
    assert sorted(first.compiler) == sorted(second.compiler)
    made = build.build_environment(demo.base, demo.workspace, TOOLS)
    env = os.environ | {"CCACHE_DIR": made["CCACHE_DIR"]}
    shown = subprocess.run(["ccache", "--print-stats"], env=env, capture_output=True, text=True)
    assert "direct_cache_hit\t1" in shown.stdout.splitlines()


def test_checkpatch_is_the_trusted_trees(demo: Demo) -> None:
    files = {"net/demo.c": f"{DEMO}/* bad */\n", "scripts/checkpatch.pl": "exit 0;\n"}
    # the line is that of the mail: its subject is the first
    assert demo.told("checkpatch", files, "demo: say it\n\nA body.") == [
        ":0: SUBJECT: demo: say it",
        "net/demo.c:14: WORD: bad",
    ]


def test_a_tool_that_fails_is_a_note_and_the_others_go_on(
    demo: Demo, capfd: pytest.CaptureFixture[str]
) -> None:
    files = {"net/demo.c": f"{NEW}/* crash */\n"}
    for _ in range(2):  # and nothing of it is kept
        assert [one.kind for one in demo.find(files)] == ["warning"]
        said = capfd.readouterr().err
        assert "patch 1: checkpatch: not found out: scripts/checkpatch.pl fails:" in said
        assert [text.split(":")[:2] for text in demo.unasked] == [
            ["checkpatch", " scripts/checkpatch.pl fails"]
        ]
    files = {"Makefile": MAKEFILE.replace("cp $", "exit 3; cp $"), "net/demo.c": NEW}
    assert [one.kind for one in demo.find(files)] == ["checkpatch"]
    assert "patch 1: warnings: not found out: the configuration fails" in capfd.readouterr().err
    assert demo.unasked[0].startswith("warnings: the configuration fails")


def test_a_hostile_build_writes_nothing_and_names_no_file_but_the_trees(demo: Demo) -> None:
    lines = "/etc/passwd:1: warning: a\\nnet/b.c:2: warning: b\\nnet/../net/demo.c:3: warning: c\\n"
    more = f"\tprintf '{lines}'; touch $(CURDIR)/x $(O)/../y; true\n\tmkdir -p"
    home = fingerprint(demo.slot / "obj")
    files = {"Makefile": MAKEFILE.replace("\tmkdir -p", more), "net/demo.c": NEW}
    assert demo.told("warning", files) == [
        "net/demo.c:4: unused variable 'more' [-Wunused-variable]"
    ]
    assert fingerprint(demo.slot / "obj") == home
    assert demo.left() == {"src", "obj"}


NOT_THE_SAME = f"{HEADER}:4: it is not what {SPEC} generates, which has here: "
CANNOT = f"{SPEC}:0: the tree's generator cannot read it: KeyError: 'three' (exit code 1)"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({SPEC: "one two\n"}, [f"{NOT_THE_SAME}#define TWO 2"]),
        ({SPEC: "one two\n", HEADER: f"{TEXT}#define TWO\t2\n"}, []),
        ({HEADER: f"{TEXT}#define THREE\n"}, [NOT_THE_SAME]),
        ({SPEC: "three\n"}, [CANNOT]),
        ({"net/demo.c": NEW}, []),
    ],
)
def test_a_header_and_its_spec(demo: Demo, files: dict[str, str], told: list[str]) -> None:
    assert demo.told("netlink spec", files) == told


def test_a_header_that_differed_before_is_not_told(demo: Demo) -> None:
    git(demo.src, "checkout", "-q", "--force", demo.base.commit)
    of = commit(demo.src, {SPEC: "two\n"}, "differs")
    before = replace(demo.base, commit=of, tree_id=demo.tree_id(of), ground=demo.base)
    found = demo.find({SPEC: "two one\n"}, before=before)
    assert [one for one in found if one.kind == "netlink spec"] == []


def fixes(demo: Demo, tag: str) -> list[str]:
    return demo.told("Fixes", {"net/demo.c": f"{DEMO}\n"}, f"demo: fix it\n\nWords.\n\n{tag}")


def test_fixes_that_are_right(demo: Demo) -> None:
    for name in (demo.first[:12], demo.first):
        assert fixes(demo, f'Fixes: {name} ("first: a title")\nSigned-off-by: A <a@b>') == []
    assert fixes(demo, "No tag.") == []


def test_fixes_that_are_wrong(demo: Demo) -> None:
    git(demo.src, "checkout", "-q", "--force", demo.first)
    beside = commit(demo.src, {"a": "b"}, "beside: it")
    short, whole = demo.first[:8], demo.first[:12]
    for tag, why in (
        (f'{whole} ("first: another")', 'its title is "first: a title"'),
        ('0123456789ab ("gone")', "no such commit in the tree"),
        (f'{beside[:12]} ("beside: it")', "it is not in the history of the tree"),
        (f'{short} ("first: a title")', "an id of fewer than 12 digits"),
        (f"commit {whole}", 'not of the form 0123456789ab ("title")'),
        (f"{whole} (first: a title)", 'not of the form 0123456789ab ("title")'),
    ):
        assert fixes(demo, f"Fixes: {tag}") == [f":0: {why}: {tag}"]


def test_a_tag_that_is_long_is_read_at_once(demo: Demo) -> None:
    git(demo.src, "checkout", "-q", "--force", demo.first)
    commit(demo.src, {"a": "b"}, "a: b")
    mail = git(demo.src, "format-patch", "-1", "--stdout")
    patch = parse_patch(f"{mail}\n".encode(), Path("0001.patch"), 1)
    long = replace(patch, body=f"Fixes: x{' ' * 1_000_000}y\n")
    begin = time.monotonic()
    (said,) = wrong_fixes(long, demo.base)
    assert said.startswith("not of the form") and time.monotonic() - begin < 30


def test_a_copy_of_what_is_fixed_will_do(demo: Demo) -> None:
    git(demo.src, "checkout", "-q", "--force", demo.base.commit)
    there = (
        "there: as it was\n\ncommit 1234567890abcdef1234567890abcdef12345678 upstream.\n\nWords."
    )
    of = commit(demo.src, {"a": "b"}, there)
    source = replace(demo.base.source, commit=of)
    demo.base = replace(demo.base, source=source, commit=of, tree_id=demo.tree_id(of))
    assert fixes(demo, 'Fixes: 1234567890ab ("there: as it was")') == []
    (said,) = fixes(demo, 'Fixes: 1234567890ab ("there: as it is")')
    assert 'its title is "there: as it was"' in said


def test_without_a_history_only_the_form_is_told(demo: Demo) -> None:
    source = replace(demo.base.source, commit=demo.first)  # which has no parent
    demo.base = replace(demo.base, source=source)
    assert fixes(demo, 'Fixes: 0123456789ab ("gone")') == []
    assert len(fixes(demo, "Fixes: gone")) == 1


def test_what_the_machine_lacks_is_passed_over(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_scripts, "_program", lambda _: None)
    found = demo.find({SPEC: "two\n", "net/demo.c": f"{DEMO}/* bad */\n"})
    assert found == ()
