# SPDX-License-Identifier: GPL-2.0-only
"""What the lines of a source file are: code, directives of the preprocessor or neither; which
statements they make; what `#if` they stand under. Pure. Tree-sitter reads C and shell, as far as it
goes: it takes any text, and of what it does not understand no statement is told."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import ModuleType

import tree_sitter_bash
import tree_sitter_c
from tree_sitter import Language, Node, Parser

C, SHELL = "c", "shell"
_GRAMMARS: Mapping[str, ModuleType] = {C: tree_sitter_c, SHELL: tree_sitter_bash}
# Files of which no line is compiled or run.
PROSE = re.compile(r"Documentation/.*|MAINTAINERS|.*\.(?:rst|txt|ya?ml|md)|(?:.*/)?\.gitignore")
DIRECTIVE = re.compile(r"\s*#\s*(\w*)(.*)")  # "#ifdef CONFIG_IPV6"
_STATEMENTS = {
    C: frozenset(
        "expression_statement if_statement for_statement while_statement do_statement"
        " switch_statement return_statement goto_statement break_statement continue_statement"
        " declaration".split()
    ),
    SHELL: frozenset(
        "command redirected_statement variable_assignment variable_assignments list pipeline"
        " negated_command test_command declaration_command unset_command if_statement for_statement"
        " c_style_for_statement while_statement case_statement subshell compound_statement".split()
    ),
}
# What holds statements one after another, by the type of the node.
_BODIES = {
    C: frozenset(
        "compound_statement case_statement labeled_statement if_statement else_clause for_statement"
        " while_statement do_statement preproc_if preproc_ifdef preproc_else preproc_elif".split()
    ),
    SHELL: frozenset(
        "program compound_statement if_statement elif_clause else_clause do_group case_item"
        " subshell".split()
    ),
}
# And what one of these is asked by, which is no statement of its own: "while read -r line".
_ASKED = ("condition", "value", "initializer", "update", "name")


@dataclass(frozen=True)
class Statement:
    """A statement: bytes from ``start`` to before ``end``, lines from ``first`` to ``last``;
    ``declares`` tells whether it is a declaration."""

    start: int
    end: int
    first: int
    last: int
    declares: bool = False


@dataclass(frozen=True)
class Outline:
    """Lines by their numbers, from 1. ``code`` are those that are no comment and not blank,
    ``directives`` those of them that the preprocessor takes; ``closing`` those that only end or
    part what others began, such as ``}`` and ``fi``. ``conditions`` are the `#if`s that a line
    stands under, outermost first. ``language`` is empty where it is neither C nor shell."""

    language: str
    code: frozenset[int]
    directives: frozenset[int] = frozenset()
    closing: frozenset[int] = frozenset()
    statements: tuple[Statement, ...] = ()
    conditions: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def statement_at(self, line: int) -> Statement | None:
        """The smallest statement that the line is of."""
        holding = [one for one in self.statements if one.first <= line <= one.last]
        return min(holding, key=lambda one: one.end - one.start, default=None)


def language_of(name: str, text: str) -> str:
    """In which language a file of the kernel's tree is written; empty for the others."""
    if name.endswith((".c", ".h")):
        return C
    head = text.partition("\n")[0]
    plain = not PurePosixPath(name).suffix
    shell = name.endswith(".sh") or (plain and re.match(r"#!.*\b(?:ba|da)?sh\b", head))
    return SHELL if shell else ""


def read_outline(name: str, text: str) -> Outline:
    """The outline of the file ``name``; lines end with a newline and nothing else."""
    lines = text.split("\n")
    written = {number for number, line in enumerate(lines, 1) if line.strip()}
    language = language_of(name, text)
    if PROSE.fullmatch(name) or not language:
        rows = set() if PROSE.fullmatch(name) else written
        remarks = {n for n in rows if lines[n - 1].lstrip().startswith("#")}
        return Outline("", frozenset(rows - remarks))
    data = text.encode("utf-8", "surrogateescape")
    root = Parser(Language(_GRAMMARS[language].language())).parse(data).root_node
    leaves = (node for node in _walk(root) if not node.child_count and node.type != "comment")
    code = {n for leaf in leaves if leaf.end_byte > leaf.start_byte for n in _lines_of(leaf)}
    code &= written
    conditions = dict(_conditions(lines, code)) if language == C else {}
    return Outline(
        language,
        frozenset(code),
        frozenset(_directives(lines, code)) if language == C else frozenset(),
        frozenset(n for n in code if CLOSING[language].fullmatch(_bare(lines[n - 1], language))),
        tuple(_statements(root, language)),
        conditions,
    )


CLOSING = {
    C: re.compile(r"(?=\s*\S)[\s{};]*(?:else)?[\s{};]*"),
    SHELL: re.compile(r"(?=\s*\S)(?:[{}();\s]|\b(?:then|else|do|done|fi|esac)\b)*"),
}


def _walk(root: Node) -> Iterator[Node]:
    """Each node, without recursion: what is hostile may be nested by the thousand."""
    due = [root]
    while due:
        node = due.pop()
        yield node
        if node.type != "comment":
            due += node.children


def _lines_of(node: Node) -> range:
    last = node.end_point[0] + (1 if node.end_point[1] else 0)
    return range(node.start_point[0] + 1, max(last, node.start_point[0] + 1) + 1)


def _bare(line: str, language: str) -> str:
    """A line without its comments, and without the end of one that began before."""
    if language == SHELL:
        return re.sub(r"(?:^|(?<=\s))#.*", "", line)
    return re.sub(r"^.*?\*/|/\*.*|//.*", "", re.sub(r"/\*.*?\*/", "", line))


def _directives(lines: list[str], code: set[int]) -> Iterator[int]:
    """The lines of directives, with those that a backslash joins to them."""
    goes_on = False
    for number, line in enumerate(lines, 1):
        if goes_on or (number in code and line.lstrip().startswith("#")):
            yield number
            goes_on = line.endswith("\\")


def _conditions(lines: list[str], code: set[int]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """For each line under an `#if` all that it stands under."""
    stack: list[str] = []
    for number, line in enumerate(lines, 1):
        found = DIRECTIVE.match(line) if number in code else None
        word, rest = (found[1], " ".join(found[2].split())) if found else ("", "")
        if word in ("if", "ifdef", "ifndef"):
            stack.append(f"#{word} {rest}")
        elif word in ("elif", "else") and stack:
            whole = stack[-1].partition(" of ")[2] or stack[-1]
            stack[-1] = f"{f'#{word} {rest}'.strip()} of {whole}"
        elif word == "endif" and stack:
            stack.pop()
        elif stack:
            yield number, tuple(stack)


def _statements(root: Node, language: str) -> Iterator[Statement]:
    """The statements that stand in a body, so that an empty one can take their place."""
    kinds, bodies = _STATEMENTS[language], _BODIES[language]
    for body in _walk(root):
        if body.type not in bodies:
            continue
        asked = {
            child.id for name in _ASKED for child in body.children_by_field_name(name) if child
        }
        if language == SHELL and body.type in ("if_statement", "elif_clause"):
            asked |= _tested(body)
        for node in body.children:
            if node.type in kinds and node.id not in asked and not node.has_error:
                first, last = node.start_point[0] + 1, node.end_point[0] + 1
                declares = node.type == "declaration"
                yield Statement(node.start_byte, node.end_byte, first, last, declares)


def _tested(node: Node) -> set[int]:
    """What stands between `if` and `then`."""
    before = [child.type for child in node.children]
    end = before.index("then") if "then" in before else 0
    return {child.id for child in node.children[:end]}
