"""The pages: links lead somewhere, commands parse, and what is listed is what there is."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import yaml

from relay.commands.arguments import EXAMPLES, parser
from relay.config import DEFAULT_ADMIN, GRANT_VARIABLES, load
from relay.config.loading import DEFAULT_LISTEN, DEFAULT_RETURNS, SECTIONS
from relay.config.schema import Drain, Timeouts
from relay.downstream.server_connection import DISCARD_SECONDS, HEAD_SECONDS, KEEP_ALIVE_SECONDS
from relay.downstream.transport import LINGER_SECONDS
from relay.upstream.pool import KEEP_IDLE_SECONDS
from tests.harness import ROOT
from tests.reference import PAGES, written_anew

DOCS: Final = ROOT / "docs"
FOLDERS: Final = ("docs", "examples", "tests", "relay", "requirements")


def _markdown() -> Iterator[Path]:
    yield from ROOT.glob("*.md")
    for folder in FOLDERS:
        yield from (
            each for each in (ROOT / folder).rglob("*.md") if "node_modules" not in each.parts
        )


FILES: Final = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in _markdown()}
CONFIGURATION: Final = FILES["docs/configuration.md"]
OF_THE_SHELL: Final = {"PWD", "TERM"}
"""Variables of the compose file that nobody sets on purpose."""


def prose(text: str) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    """Return a page's blocks of code in a language."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives a page's headings."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ +(.*?) *$", prose(text), re.MULTILINE):
        plain = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found[anchor] = found.get(anchor, -1) + 1
        if found[anchor]:
            found[f"{anchor}-{found[anchor]}"] = 0
    return set(found)


@pytest.mark.parametrize("name", FILES)
def test_every_link_leads_somewhere(name: str) -> None:
    """To a file that is there, and to a heading of it; addresses elsewhere are not looked up."""
    links = re.findall(r"\]\(([^)\s]+)\)", prose(FILES[name]))
    for link in links:
        if link.startswith(("https://", "http://")):
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT / name).parent / target if target else ROOT / name
        assert path.exists(), link
        if anchor:
            assert anchor in anchors(path.read_text("utf-8")), link


def test_every_page_is_in_the_index() -> None:
    """Whoever opens docs/ finds each of them."""
    index = FILES["docs/README.md"]
    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    assert [page for page in sorted(pages) if f"]({page})" not in index] == []


SHELL: Final = [(name, block) for name, text in FILES.items() for block in blocks(text, "sh")]


@pytest.mark.parametrize(("name", "block"), SHELL, ids=[name for name, _ in SHELL])
def test_every_command_parses(name: str, block: str) -> None:
    """Blocks for the shell are read by one, which runs nothing."""
    done = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", FILES)
def test_every_command_of_the_relays_is_one(name: str) -> None:
    """``relay NAME`` in code."""
    known = {name for action in parser()._actions for name in action.choices or ()}
    code = re.findall(r"`relay ([a-z]+)\b", FILES[name])
    code += re.findall(r"(?m)(?:^|relay )relay ([a-z]+)\b", "".join(blocks(FILES[name], "sh")))
    assert [command for command in code if command not in known] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_reference_is_not_out_of_date(page: Path) -> None:
    """If it is: python -m tests.reference."""
    text = page.read_text("utf-8")
    assert text == written_anew(text)


def section_of_configuration(heading: str) -> str:
    """Return what stands below a heading, up to the next of its kind."""
    mark = heading.split(" ", maxsplit=1)[0]
    return CONFIGURATION.split(f"\n{heading}\n")[1].split(f"\n{mark} ")[0]


@pytest.mark.parametrize("key", SECTIONS)
def test_every_section_of_the_configuration_is_explained(key: str) -> None:
    """With a heading of its own; the addresses with their defaults."""
    text = section_of_configuration(f"### `{key}`")
    defaults = {"listen": DEFAULT_LISTEN, "admin": DEFAULT_ADMIN, "returns": DEFAULT_RETURNS}
    assert defaults.get(key, "") in text


def test_the_examples_of_the_configuration_load(tmp_path: Path) -> None:
    """Each whole one is a configuration that the relay takes, and has no key that it ignores."""
    examples = [block for block in blocks(CONFIGURATION, "yaml") if block.startswith("grants")]
    assert len(examples) == 2
    for example in examples:
        (tmp_path / "agent.yaml").write_text(example)
        assert load(tmp_path / "agent.yaml", {}).relays
        assert set(yaml.safe_load(example)) <= set(SECTIONS)
    assert set(yaml.safe_load(examples[1])) == set(SECTIONS)


def test_the_examples_of_chains_load(tmp_path: Path) -> None:
    """In short and in full, with the same first hop but for what it wants for itself."""
    file = tmp_path / "agent.yaml"
    chains = []
    for example in blocks(section_of_configuration("## Chains"), "yaml"):
        file.write_text(f"grants: [anthropic]\n{example}")
        settings = load(file, {})
        assert settings.warnings == ()
        chains.append(settings.relays[0])
    short, full = chains
    assert (short.name, short.upstream) == (full.name, full.upstream)
    assert short.hops == (replace(full.hops[0], headers=()),)


def listed(text: str) -> dict[str, str]:
    """Return the variables that a page's tables list, and the defaults beside them."""
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \|([^|]*)\|", text, re.MULTILINE)
    return {
        name: default.strip("` ")
        for names, default in rows
        for name in re.findall(r"[A-Z_]+", names)
    }


def test_every_variable_of_the_relay_is_listed() -> None:
    """All that its code names, and none besides; `relay init` names Compose's, for its .env."""
    files = (each for each in (ROOT / "relay").rglob("*.py") if "init" not in each.parts)
    code = "".join(path.read_text("utf-8") for path in files)
    named = set(re.findall(r"\"(RELAY_[A-Z_]+)\"", code))
    assert set(listed(section_of_configuration("## Variables of the relay"))) == named


def test_every_variable_of_the_compose_file_is_listed() -> None:
    """With its default, where that is a text of its own; it hands on what each grant may be."""
    compose = (ROOT / "compose.yaml").read_text("utf-8")
    defaults: dict[str, str] = {}
    for name, default in re.findall(r"(?<!\$)\$\{([A-Z_]+)(?::?-([^}]*))?", compose):
        defaults.setdefault(name, default)
    rows = listed(section_of_configuration("## Variables of `compose.yaml`"))
    assert set(rows) == set(defaults) - OF_THE_SHELL
    assert set(GRANT_VARIABLES.values()) <= set(rows)
    plain = {name: default for name, default in defaults.items() if name in rows}
    plain = {name: default for name, default in plain.items() if "$" not in default}
    assert {name: rows[name] for name in plain} == plain
    (kept,) = re.findall(r"for name in \((.*)\):", compose)
    assert set(re.findall(r"\w+", kept)) == set(GRANT_VARIABLES.values())


def test_every_command_is_in_the_readme() -> None:
    """In the table under Commands; and no command is named there that is not one."""
    table = FILES["README.md"].split("\n## Commands\n")[1].split("\n## ")[0]
    assert set(re.findall(r"`relay (\w+)", table)) == set(EXAMPLES)


def test_every_module_is_in_the_page_on_how_it_works() -> None:
    """In the row of its package; and no module is named that is not there."""
    rows = re.findall(
        r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", FILES["docs/how-it-works.md"], re.MULTILINE
    )
    named = {package: set(re.findall(r"`(\w+/?)`", modules)) for package, modules in rows}
    assert named == {
        path.stem: _modules(path)
        for path in (ROOT / "relay").iterdir()
        if not path.stem.startswith("__")
    }


def _modules(package: Path) -> set[str]:
    """Return a package's modules, and its packages with a slash behind."""
    if package.is_file():
        return set()
    inside = [path for path in package.iterdir() if not path.name.startswith("__")]
    return {path.stem if path.is_file() else f"{path.name}/" for path in inside}


def test_every_place_in_the_page_on_how_it_works_is_there() -> None:
    """The steps of a request name the modules that take them."""
    for place in re.findall(r"`((?!tests)\w+/\w+)`", FILES["docs/how-it-works.md"]):
        assert (ROOT / "relay" / f"{place}.py").exists() or (ROOT / "relay" / place).is_dir(), place


def test_every_part_of_the_tests_is_explained() -> None:
    """The table has what `tests/run` takes."""
    parts = re.search(
        r"^    (lint\|.*)\) say", (ROOT / "tests/run").read_text("utf-8"), re.MULTILINE
    )
    assert parts
    rows = re.findall(r"^\| `(\w+)` \|", FILES["CONTRIBUTING.md"], re.MULTILINE)
    assert set(rows) == set(parts[1].split("|"))


def test_the_drawing_of_packages_is_the_contract_of_imports() -> None:
    """From top to bottom, and so are the rows of the table below it."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    layers = [re.findall(r"\w+", layer) for layer in contracts["contracts"][0]["layers"]][1:]
    code = FILES["docs/how-it-works.md"].split("\n## The code\n")[1]
    named = [name for layer in layers for name in layer]
    drawing = re.findall(r"^```\n(.*?)^```", code, re.MULTILINE | re.DOTALL)[0]
    assert [re.findall(r"\w+", line[:23]) for line in drawing.splitlines()] == layers
    assert re.findall(r"^\| `(\w+)` \|", code, re.MULTILINE) == named


def test_every_file_that_contributors_are_sent_to_is_there() -> None:
    """But for those whose NAME is theirs to choose."""
    named = re.findall(r"`((?:relay|tests|docs|examples)/[\w./-]+)`", FILES["CONTRIBUTING.md"])
    assert len(named) > 40
    assert [each for each in named if "NAME" not in each and not (ROOT / each).exists()] == []


def test_the_time_limits_of_a_call_are_those_of_the_code() -> None:
    """As the page on the life of a call has them, in whole seconds."""
    rows = re.findall(r"^\| ([^,|]+), (\d+) s", FILES["docs/life-of-a-call.md"], re.MULTILINE)
    limits = Timeouts()
    assert {name: int(seconds) for name, seconds in rows} == {
        "a head": HEAD_SECONDS,
        "an agent's connection without a request": KEEP_ALIVE_SECONDS,
        "a body that nobody wants": DISCARD_SECONDS,
        "a kept connection": KEEP_IDLE_SECONDS,
        "a closing connection": LINGER_SECONDS,
        "`drain`": Drain().drain,
        **{f"`{name}`": getattr(limits, name) for name in Timeouts.model_fields},
    }
