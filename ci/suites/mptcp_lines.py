# SPDX-License-Identifier: GPL-2.0-only
"""The lines that MPTCP's selftests print while they run, as cases under the names that their TAP
will use.

A numbered title, padded, then ``[ OK ]``, ``[FAIL] why``, ``[SKIP]`` or ``[IGNO] (flaky)`` (a
failure that the script masks) on the same line; mptcp_join.sh puts the title on a line of its own
and a mark on the line of each check below. Before v6.6 titles may have no number, and marks look
like ``[ ok ]``, ``[  ok  ]`` or ``[OK]``. What a program says in between may stand on the title's
line, and push the mark to a later one. What else there is for each script is in
:mod:`ci.suites.mptcp_forms`.
"""

import re
from dataclasses import dataclass, field

from ci.logs.outcome import DETAIL_LINES, Case, CaseList, State, bounded, tidy
from ci.suites.mptcp_forms import ADDRESS_ID, FORMS, GROUPS, TRANSFER, Forms
from ci.suites.mptcp_join import FailureList, inline_title

# "02 Established IPv4 MPTCP Connection ns2 => ns1      [ OK ]", "001 no JOIN"
_TITLE = re.compile(r"([0-9]{2,3}) (.*)$")
# "[ OK ]", "[FAIL] expected 2 found 1", "[IGNO] (flaky)", "[  ok  ]"
_MARK = re.compile(r"\[ {0,2}(ok|fail|skip|igno) {0,2}\]", re.I)
# "no JOIN                             syn"
_GAP = re.compile(r" {2,}")
# So many titles in a row may be lost.
MAX_LOST = 20
MARKS = {"ok": State.PASS, "fail": State.FAIL, "skip": State.SKIP, "igno": State.FLAKY}
# How a line of one of the tables' words begins: "PASS: ", "[SKIP] ", " client exit code 2"
_WORD = re.compile(r"PASS|FAIL|SKIP|INFO|\[| ?client exit|ns[0-9]")


@dataclass
class _Open:
    """The case whose lines are coming in. ``failed``: it failed before its title came."""

    name: str
    number: int = 0
    failed: bool = False
    first: State | None = None
    last: State | None = None
    marks: set[State] = field(default_factory=set)
    words: str = ""
    lines: list[str] = field(default_factory=list)


class LiveReader:
    """Collects live cases line by line. It is fed cleaned lines of bounded length."""

    def __init__(self, script: str) -> None:
        found = [forms for prefix, forms in FORMS.items() if script.startswith(prefix)]
        self.forms = found[0] if found else Forms()
        self.connect = script.startswith("mptcp_connect")
        # In mptcp_join.sh a title is followed by the marks of its checks; elsewhere the first mark
        # is the result.
        self.checks = script.startswith("mptcp_join")
        self.failures = FailureList()
        self.number = 0
        self.group = ""
        # userspace_pm.sh's random ids: (command, namespace) -> the first one printed.
        self.first_ids: dict[tuple[str, str], int] = {}
        self.words: set[str] = set()
        self.open: _Open | None = None
        self.done = CaseList()

    @property
    def full(self) -> bool:
        """Whether there are more cases than are read."""
        return self.done.full

    def feed(self, line: str) -> None:
        """One line."""
        if self.done.full:
            return
        mark = _MARK.search(line) if "[" in line else None
        title = _TITLE.match(line)
        if title and self._is_title(title, marked=bool(mark)):
            if self.number < int(title[1]) <= self.number + MAX_LOST:
                self.number = int(title[1])
            end = max(mark.start(), title.start(2)) if mark else len(line)
            self._begin(line[title.start(2) : end], int(title[1]), marked=bool(mark))
        elif self.checks:
            if self.failures.takes(line):
                return
        elif _WORD.match(line) and self._is_word(line):
            return
        elif not self.number:
            self._read_bare(line, mark)
        if self.open is None:
            return
        if len(self.open.lines) <= DETAIL_LINES:
            self.open.lines.append(line)
        if mark:
            self._note_marks(self.open, line)

    def finish(self, status: int | None, *, complete: bool, tap: bool = True) -> list[Case]:
        """The cases. ``complete``: nothing of the output is missing, so the last case had all its
        lines. ``tap``: the script is one that prints TAP, and a line before each check."""
        failed = self.open is not None and {State.FAIL, State.FLAKY} & self.open.marks
        if self.open and not complete and not failed and (self.checks or not self.open.marks):
            # A script that gives up with status 1 does so in this case ("ERROR: missing feature:
            # ...").
            state, why = (
                (State.FAIL, "ended with status 1") if status == 1 else (State.ERROR, "stopped")
            )
            self.open.lines.insert(0, f"the script {why} in the middle of this case")
            self._settle(self.open, state)
        self._close()
        last = self.done.cases[-1] if self.done.cases else None
        if not tap and status == 1 and last and last.state is State.PASS:
            why = "the script ended with status 1 in this case, without a word"
            for before, case in self.forms.silent:
                if last.name == before:
                    self.done.add(Case(case, State.FAIL, why))
        return self.failures.settle(self.done.cases, self.number)

    def _note_marks(self, one: _Open, line: str) -> None:
        for mark in _MARK.finditer(line):
            state = MARKS[mark[1].lower()]
            one.words = one.words or line[mark.end() :].strip()
            one.first, one.last = one.first or state, state
            one.marks.add(state)

    def _is_title(self, title: re.Match[str], *, marked: bool) -> bool:
        """Titles count up by one; a line may be lost, and "10 packets transmitted" is none. One
        that has its mark is a title whatever its number, but for a script that puts its marks below
        the titles; a title that waits for its mark gets it ("4711 max 7989   [FAIL]")."""
        number, wide = int(title[1]), len(title[1]) >= (3 if self.checks else 2)
        if number == self.number + 1 and (wide or marked):
            return True
        if marked and not self.checks:
            return self._is_known(title[2]) or self.open is None or bool(self.open.marks)
        if marked:
            return self.failures.inline and wide and number > self.number
        return number > self.number and self._is_known(title[2])

    def _is_known(self, text: str) -> bool:
        """Whether a line begins with a title that can be told without number or mark."""
        if self.connect and TRANSFER.match(text):
            return True
        return any(pattern.match(text) for pattern, _ in self.forms.titles)

    def _begin(self, text: str, number: int = 0, *, marked: bool) -> None:
        self._close()
        if self.checks:
            name = inline_title(text) if marked else tidy(text)
            held = self.failures.held(inline=marked)
            self.open = _Open(name, number, failed=bool(held), lines=held)
        else:
            self.open = _Open(self._described(text.strip()), number)

    def _read_bare(self, line: str, mark: re.Match[str] | None) -> None:
        """A line of a script whose titles have no number, so far."""
        if self.forms.bare and self._is_known(line):
            self._begin(line[: mark.start()] if mark else line, marked=bool(mark))
        elif mark and (self.open is None or self.open.marks):
            if before := line[: mark.start()].strip():
                self._begin(before, marked=True)
            elif self.open is None and mark[1].lower() == "fail":
                # "[FAIL] Failed to setup namespaces ns1 ns2"
                self._begin(line[mark.end() :].strip(), marked=True)

    def _described(self, title: str) -> str:
        """The description in TAP of a title, as far as it goes."""
        if self.connect and (match := TRANSFER.match(title)):
            group = self.group or "multihosts"
            if not self.group and match[1] == match[3]:
                group = "loopback v6" if match[4].count(":") > 1 else "loopback v4"
            return tidy(f"{group}: {match[1]} {match[2]} -> {match[3]} ({match[4]}) {match[5]}")
        for pattern, description in self.forms.titles:
            if match := pattern.match(title):
                return self._with_owner(tidy(match.expand(description)))
        title = _GAP.split(title, maxsplit=1)[0]
        if self.forms.tail and (tail := self.forms.tail.search(title)):
            title = title[: tail.start()]
        return tidy(title)

    def _with_owner(self, title: str) -> str:
        """An address by whose it is, instead of by a random id."""
        match = ADDRESS_ID.match(title)
        if not match:
            return title
        command = match[1] + match[2].replace("6", "")
        whose = "client" if match[5] == "2" else "server"
        away = int(match[3]) - self.first_ids.setdefault((command, whose), int(match[3]))
        return tidy(f"{match[1]}{match[2]} id:{whose}{f'{away:+d}' if away else ''}{match[4]}")

    def _is_word(self, line: str) -> bool:
        """Whether the line is a case by itself, or says which group of cases follows."""
        for pattern in GROUPS if self.connect and line.startswith("INFO:") else ():
            if match := pattern.match(line.rstrip()):
                self.group = match[1] or "full disconnect"
        for pattern, state, name in self.forms.words:
            if match := pattern.match(line):
                self._close()
                name = tidy(match.expand(name))
                if name not in self.words:
                    self.words.add(name)
                    detail = "" if state is State.PASS else line.strip()
                    self.done.add(Case(name, state, detail))
                return True
        return False

    def _settle(self, one: _Open, state: State) -> None:
        # This one case is named after what went wrong (mptcp_connect.sh, check_mptcp_disabled).
        if (
            state is State.FAIL
            and one.name == "New MPTCP socket can be blocked via sysctl"
            and one.words
        ):
            one.name = tidy(one.words)
        if state is State.FAIL and not one.words and self._is_echo(one.name):
            one.lines.insert(0, "the failure before is told again, and nothing of this case")
            state = State.ERROR
        detail = "" if state is State.PASS else bounded(one.lines)
        self.failures.note(one.number, len(self.done.cases))
        self.done.add(Case(one.name, state, detail))
        self.open = None

    def _is_echo(self, name: str) -> bool:
        last = self.done.cases[-1] if self.done.cases else None
        return bool(last and last.state is State.FAIL and (name, last.name) in self.forms.echoes)

    def _close(self) -> None:
        one = self.open
        if one is None:
            return
        if not self.checks:
            if one.first is None:
                one.lines.insert(0, "no result was printed")
            self._settle(one, one.first or State.ERROR)
            return
        # mark_as_skipped() of mptcp_join.sh is the last thing that a test does; a check skipped
        # earlier does not make the test one that is skipped.
        state = State.SKIP if one.last is State.SKIP else State.PASS
        state = next((bad for bad in (State.FAIL, State.FLAKY) if bad in one.marks), state)
        if one.failed and state is not State.FAIL:
            self.failures.doubt(one.number, Case(one.name, state))
            state = State.FAIL
        self._settle(one, state)
