"""Command pages and the list of errors are those of the program."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from calling import call
from click.testing import CliRunner

from vidrepair.cli import main
from vidrepair.cli.headings import HEADINGS

DOCS = Path(__file__).parents[1] / "docs"
REMEDY = "; run python docs/make_reference.py"


@pytest.fixture(scope="module")
def made() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", DOCS / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_has_its_page(made: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    pages = made.command_pages()
    assert {f"{name}.md" for name in main.commands} | {"README.md"} == set(pages)
    assert {path.name for path in (DOCS / "commands").iterdir()} == set(pages), REMEDY
    for name, text in pages.items():
        kept = (DOCS / "commands" / name).read_text(encoding="utf-8")
        assert kept.split() == text.split(), f"docs/commands/{name} is old{REMEDY}"


def test_every_error_is_listed(made: ModuleType) -> None:
    text = made.error_page()
    assert (DOCS / "errors.md").read_text(encoding="utf-8") == text, (
        f"docs/errors.md is old{REMEDY}"
    )
    assert "- ... is a playlist, which would open other files; name the video itself" in text


def test_every_option_of_a_run_stands_under_a_heading() -> None:
    headed = {name for names in HEADINGS.values() for name in names}
    options = {one.name for one in main.commands["run"].params if not getattr(one, "hidden", False)}
    assert options - headed == {"source"}
    text = call("run", "--help").output
    first = text.index("What most people need:")
    assert first < text.index("-o, --output") < text.index("The film that is written:")


def test_the_first_screen_names_commands_that_are_there() -> None:
    shown = call()
    assert shown.exit_code == 0
    lines = [line.split() for line in shown.output.splitlines() if line.startswith("  vidrepair")]
    named = {words[1] for words in lines}
    assert len(lines) == 5
    assert named - {"tape.mp4"} <= set(main.commands)


def test_a_mistyped_file_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "Reel_07.mkv").write_bytes(b"x")
    said = call("run", tmp_path / "reel_7.mkv", "-o", tmp_path / "o.mkv")
    assert said.exit_code == 3
    assert f"did you mean {tmp_path / 'Reel_07.mkv'}?" in said.stderr
    other = call("run", tmp_path / "wedding.mp4", "-o", tmp_path / "o.mkv")
    assert "check the name and the folder" in other.stderr


def test_a_shell_can_complete_the_words() -> None:
    asked = {"COMP_WORDS": "vidrepair run --den", "COMP_CWORD": "2"}
    env = {"_VIDREPAIR_COMPLETE": "bash_complete", **asked}
    done = CliRunner().invoke(main, [], prog_name="vidrepair", env=env)
    assert "--denoise" in done.output
