# SPDX-License-Identifier: GPL-2.0-only
"""ci.kernel.make_progress: what make will compile again, from files in kbuild's notation."""

import os
from pathlib import Path

from ci.kernel import make_progress

CMD = """savedcmd_{name} := ccache gcc -Wp,-MMD,{name}.d -c -o {name} ../src/{source}

source_{name} := ../src/{source}

deps_{name} := \\
    $(wildcard include/config/MPTCP) \\
  ../src/include/linux/{header} \\
  include/generated/asm-offsets.h \\

{name}: $(deps_{name})

$(deps_{name}):
"""
SOURCES = (
    "src/net/a.c",
    "src/net/b.c",
    "src/arch/c.S",
    "src/include/linux/one.h",
    "src/include/linux/two.h",
    "obj/include/generated/asm-offsets.h",
    "src/net/new.c",
)
OBJECTS = (
    ("net/a.o", "net/a.c", "one.h"),
    ("net/b.o", "net/b.c", "two.h"),
    ("arch/c.o", "arch/c.S", "one.h"),
)


def dated(path: Path, when: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (when, when))


def made(slot: Path) -> Path:
    """An object directory in which everything is newer than what it was made of."""
    for name in SOURCES:
        dated(slot / name, 1000)
    for name, source, header in OBJECTS:
        dated(slot / "obj" / name, 2000)
        path = slot / "obj" / name
        path.with_name(f".{path.name}.cmd").write_text(
            CMD.format(name=name, source=source, header=header), encoding="ascii"
        )
    # What was put together, not compiled, and what another notation describes.
    (slot / "obj/net/.built-in.a.cmd").write_text(
        "savedcmd_net/built-in.a := ar\n", encoding="ascii"
    )
    (slot / "obj/vmlinux").touch()
    (slot / "obj/tools").mkdir()
    (slot / "obj/tools/.x.o.cmd").write_text(
        CMD.format(name="x.o", source="gone.c", header="gone.h"), encoding="ascii"
    )
    return slot / "obj"


def test_what_is_newer_than_an_object_makes_it_anew(tmp_path: Path) -> None:
    obj = made(tmp_path)
    assert make_progress.count_stale(obj) == 0
    dated(tmp_path / "src/net/new.c", 3000)  # nothing was made of it
    assert make_progress.count_stale(obj) == 0
    dated(tmp_path / "src/net/a.c", 3000)
    assert make_progress.count_stale(obj) == 1
    dated(tmp_path / "src/include/linux/one.h", 3000)
    assert make_progress.count_stale(obj) == 2
    (tmp_path / "src/include/linux/two.h").unlink()
    assert make_progress.count_stale(obj) == 3


def test_what_is_gone_is_made_anew(tmp_path: Path) -> None:
    obj = made(tmp_path)
    (obj / "net/b.o").unlink()
    assert make_progress.count_stale(obj) == 1
    dated(tmp_path / "obj/include/generated/asm-offsets.h", 3000)
    assert make_progress.count_stale(obj) == 3


def test_a_first_build_is_told_from_the_configuration(tmp_path: Path) -> None:
    """What the configuration itself has compiled for this machine is no part of it, what a build
    before has made is."""
    (tmp_path / "empty").mkdir()
    config = 'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=y\nCONFIG_D="x"\n' + "CONFIG_E=y\n" * 98
    (tmp_path / "empty/.config").write_text(config, encoding="ascii")
    assert make_progress.count_stale(tmp_path / "empty") == 210
    obj = made(tmp_path)
    (obj / "vmlinux").unlink()
    (obj / ".config").write_text(config, encoding="ascii")
    (obj / "scripts").mkdir()
    (obj / "scripts/.conf.o.cmd").write_text(
        CMD.format(name="conf.o", source="net/a.c", header="one.h"), encoding="ascii"
    )
    assert make_progress.count_stale(obj) == 207
    dated(tmp_path / "src/net/a.c", 3000)
    assert make_progress.count_stale(obj) == 208
