# SPDX-License-Identifier: GPL-2.0-only
"""ci.commands.bench: what can be seen without an hour of two cores."""

import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from ci.base.errors import StageError
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.commands import bench
from ci.commands.bench import Cost, Spent
from ci.guest.modes import Mode
from ci.suites.collection import Script


def test_a_row_that_is_none_is_named(
    settings_for: Callable[..., Settings], progress: Progress
) -> None:
    with pytest.raises(
        StageError, match="--rows speed: there are build, rebuild, boot, smoke, default, scripts"
    ):
        bench.compare_with_vng(settings_for(), progress, ["build", "speed"], 1)


def test_a_peer_that_would_skip_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(
        StageError, match="install iptables nftables tcpdump ethtool iproute2 bsdutils kmod"
    ):
        bench._Peer(SimpleNamespace(run=SimpleNamespace(folder=tmp_path)), tmp_path)  # type: ignore[arg-type]


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bench._Peer:
    """A peer with the host's programs and no kernel."""
    monkeypatch.setattr(bench, "PEER_NEEDS", {})
    git = SimpleNamespace(run=lambda *args: None)
    patched = SimpleNamespace(source=SimpleNamespace(git=git), commit="0" * 40)
    trees = SimpleNamespace(patched=patched)
    subject = SimpleNamespace(run=SimpleNamespace(folder=tmp_path), trees=trees)
    return bench._Peer(subject, tmp_path)  # type: ignore[arg-type]


def test_a_peers_guest_that_breaks_down_is_tried_again_and_told(
    peer: bench._Peer,
    progress: Progress,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script, said = (
        Script("diag.sh"),
        iter(["Kernel panic\n", "ok 1\nended 4\n", "not ok 1\r\nended 1\r\n", "ended 0\n"]),
    )
    monkeypatch.setattr(peer, "boot", lambda line: SimpleNamespace(stdout=next(said, "")))
    counted: list[str] = []

    def once() -> None:
        peer.script(script)
        counted.append(script.label)

    peer.again(script.label, once, progress)
    peer.again(script.label, once, progress)
    assert counted == ["diag", "diag"] and (peer.broken, peer.failed) == ({"diag": 2}, {"diag": 1})
    assert "Kernel panic" in capsys.readouterr().err
    with pytest.raises(StageError, match="diag under vng"):
        peer.again(script.label, once, progress)
    assert peer.broken == {"diag": 5} and len(counted) == 2


def test_ratios_are_of_medians_and_the_raw_figures_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = SimpleNamespace(mode=Mode("virtual", ""))
    run = SimpleNamespace(folder=tmp_path, record=record)
    suites = {"smoke": (Script("userspace_pm.sh"), Script("mptcp_join.sh", part="d"))}
    figures = {
        "smoke": {"ours": [Spent(10, 8), Spent(90, 9), Spent(11, 7)]},
        "userspace_pm": {"vng": [Spent(20, 16), Spent(30, 24), Spent(90, 72)]},
        "mptcp_join-d": {"vng": [Spent(25, 20)]},
    }
    costs = {
        "fixed": {"userspace_pm": Cost(12000, 13.0)},
        "random": {"userspace_pm": Cost(13000, 52.0)},
    }
    assert bench._show(run, suites, figures, costs) == 0  # type: ignore[arg-type]
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    # vng: both scripts, on two kernels
    assert lines[1] == ["smoke", "11.0", "8.0", "110.0", "88.0", "10.0x", "11.0x"]
    assert lines[3] == ["userspace_pm", "12000", "13.0", "13000", "52.0", "24.0"]
    stored = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert stored["figures"]["smoke"]["ours"][1] == {"wall_s": 90, "cpu_s": 9}
    assert stored["scripts"]["random"]["userspace_pm"] == {"instructions_m": 13000, "cpu_s": 52.0}


def test_the_line_more_compiles_with_all_warnings_as_errors(tmp_path: Path) -> None:
    source = tmp_path / bench.CHANGED
    source.parent.mkdir(parents=True)
    source.write_text("", encoding="utf-8")
    bench._one_line_more(tmp_path)
    bench._one_line_more(tmp_path)
    done = subprocess.run(
        ["gcc", "-c", "-Wall", "-Wmissing-prototypes", "-Werror", "-o", "/dev/null", source],
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0 and source.read_text(encoding="utf-8").count("return 1;") == 2, (
        done.stderr
    )


def test_each_figure_is_kept_as_soon_as_it_is_there(tmp_path: Path, progress: Progress) -> None:
    """Builds and guests of two sides that do nothing: what is measured, in which order."""
    asked: list[str] = []

    def side(name: str) -> SimpleNamespace:
        def call(word: str, *_: object) -> dict[str, bench.Cost]:
            asked.append(f"{name} {word}")
            return {}

        words = "cold build rebuild cost guests boot script".split()
        calls = {word: partial(call, word) for word in words}
        return SimpleNamespace(again=lambda _label, once, _progress: once(), **calls)

    run = SimpleNamespace(
        folder=tmp_path, progress=progress, record=SimpleNamespace(mode=Mode("virtual", ""))
    )
    measured = bench._Measured(run)  # type: ignore[arg-type]
    rows = ["rebuild", "boot", "smoke", "scripts"]
    bench._measure_builds(measured, side("ours"), side("vng"), rows)  # type: ignore[arg-type]
    assert asked == [
        "ours cold",
        "ours build",
        "ours cost",
        "ours cost",
        "vng cold",
        "vng build",
        "ours rebuild",
        "vng rebuild",
    ]
    suites = {"smoke": [Script("diag.sh")]}
    bench._measure_guests(measured, side("ours"), side("vng"), suites, boot=True)  # type: ignore[arg-type]
    assert asked[8:12] == ["ours guests", "vng boot", "vng boot", "ours guests"]
    assert set(asked[12:]) == {"vng script"}
    stored = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))["figures"]
    assert set(stored) >= {"build", "rebuild", "boot", "smoke"}
    assert set(stored["boot"]) == {"ours", "vng"} and set(stored["smoke"]) == {"ours"}
