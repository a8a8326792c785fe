"""Write docs/commands/ and docs/errors.md from the program itself."""

from __future__ import annotations

import ast
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click

from vidrepair import errors
from vidrepair.cli import main

DOCS = Path(__file__).parent
ROOT = DOCS.parent
WIDTH = 98
SEE_ALSO = {
    "analyze": ("sidecar",),
    "batch": ("batch",),
    "compare": ("preview",),
    "engines": ("engines",),
    "estimate": ("estimate",),
    "grain": ("film-repair",),
    "jobs": ("jobs",),
    "markers": ("timelines",),
    "mask": ("film-repair",),
    "preview": ("preview",),
    "redo": ("jobs",),
    "report": ("report",),
    "resume": ("jobs",),
    "run": ("formats", "contract", "film-repair", "jobs", "sequences"),
    "verify": ("contract",),
}
MEANINGS = {
    1: "a disk, a folder, a pipe, or something unforeseen",
    2: "what was asked for cannot be done, or the target cannot hold it",
    3: "a source that cannot be read",
    5: "a finished file that is not what was promised",
    6: "the engine, or its weights",
    7: "some films of a batch",
}


def command_pages() -> dict[str, str]:
    """The text of each page, by its name."""
    with click.Context(main, info_name="vidrepair", help_option_names=["-h", "--help"]) as group:
        commands = {name: main.commands[name] for name in main.list_commands(group)}
        pages = {f"{name}.md": _page(group, name, one) for name, one in commands.items()}
        lines = [f"| [{name}]({name}.md) | {_first(one)} |" for name, one in commands.items()]
    head = "# Commands\n\nMade by `docs/make_reference.py` of what `--help` says.\n\n"
    return {"README.md": head + "| | |\n|---|---|\n" + "\n".join(lines) + "\n", **pages}


def _first(command: click.Command) -> str:
    return (command.help or "").split("\n\n")[0].replace("\n", " ")


def _page(group: click.Context, name: str, command: click.Command) -> str:
    texts = [_help(group, name, command)]
    if isinstance(command, click.Group):
        with click.Context(command, info_name=name, parent=group) as context:
            texts += [_help(context, one, command.commands[one]) for one in command.commands]
    links = ", ".join(f"[{page}](../{page}.md)" for page in SEE_ALSO.get(name, ()))
    blocks = "\n".join(f"```text\n{text}\n```\n" for text in texts)
    return f"# vidrepair {name}\n\n{blocks}" + (f"\nSee also: {links}.\n" if links else "")


def _help(parent: click.Context, name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name, parent=parent, max_content_width=WIDTH)
    context.terminal_width = WIDTH
    with context:
        lines = command.get_help(context).split("\n")
    return "\n".join(line.rstrip() for line in lines)


def error_page() -> str:
    """Every sentence that a command may end with, by exit code."""
    found: dict[int, set[str]] = defaultdict(set)
    for package in ("vidrepair", "trt_build"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for code, text in _sentences(ast.parse(path.read_text(encoding="utf-8"))):
                found[code].add(text)
    head = "Made by `docs/make_reference.py` of the program: every sentence that a command may end"
    parts = [f"# Errors\n\n{head} with, by its exit code.\n`...` stands for names and figures.\n"]
    for code, texts in sorted(found.items()):
        lines = "\n".join(f"- {text}" for text in sorted(texts, key=str.lower))
        parts.append(f"## {code}: {MEANINGS[code]}\n\n{lines}\n")
    return "\n".join(parts)


def _sentences(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Exit code and sentence of each error of ours that is made with a text."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
            continue
        kind = getattr(errors, node.func.id, None)
        if not (isinstance(kind, type) and issubclass(kind, errors.VidrepairError)):
            continue
        text = re.sub(r"(\.\.\.)+", "...", _text(node.args[0]))
        if text.strip(". "):
            yield kind.exit_code, text


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value).replace("<", "&lt;").replace("*", "\\*")
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    return "..."


def write() -> None:
    """All of them; a page whose command is gone is removed."""
    folder = DOCS / "commands"
    folder.mkdir(exist_ok=True)
    pages = command_pages()
    for path in folder.glob("*.md"):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    (DOCS / "errors.md").write_text(error_page(), encoding="utf-8")


if __name__ == "__main__":
    os.environ.pop("COLUMNS", None)
    write()
