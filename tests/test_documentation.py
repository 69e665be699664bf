"""What the pages show can be run: blocks of code, commands, names, and what is printed.

A block in a language that no test here runs or reads fails `test_every_block_is_covered`.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import shlex
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import check_links
import make_texts
import pytest
from test_repository import sessions

import lowering_hooks
from lowering_hooks import cli
from lowering_hooks.compat import RELEASES
from lowering_hooks.inductor.versions import torch_version

if TYPE_CHECKING:
    from fresh_process import Run

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
}


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]


def blocks_of(page: str, text: str) -> Iterator[Block]:
    fence, opened, language, lines = "", 0, "", []
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r" {0,3}(`{3,}|~{3,})\s*([^`]*)$", line)
        if not fence and found:
            fence, opened, language, lines = found[1], number, found[2].strip(), []
        elif fence and found and found[1].startswith(fence) and not found[2]:
            yield Block(page, opened, language, "".join(f"{line}\n" for line in lines))
            fence = ""
        elif fence:
            lines.append(line)
    assert not fence, f"{page}:{opened}: this block has no end"


BLOCKS = [block for page, text in PAGES.items() for block in blocks_of(page, text)]
SHELL = ("bash", "console", "dockerfile", "sh")
# What a line that a shell runs begins with, in blocks that have other lines as well.
PROMPTS = {"console": "$ ", "dockerfile": "RUN "}
# Blocks that only the site reads; `nox -s docs` fails where it cannot.
SITE = ("{command-help}", "{eval-rst}")


def blocks_in(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def test_lines_of_a_console() -> None:
    block = Block("page", 1, "console", "$ lowering-hooks status\nstate  active\n")
    assert (typed_in(block), printed_in(block)) == ("lowering-hooks status\n", "state  active\n")
    assert not is_covered(block)  # nothing looks at what it prints
    assert is_covered(block._replace(text="$ lowering-hooks status\n"))


def test_blocks_are_found() -> None:
    page = "a\n```python\n1\n```\n\n~~~~ text\n```\nb\n~~~\n~~~~\n```\n\n```\n"
    assert list(blocks_of("page", page)) == [
        Block("page", 2, "python", "1\n"),
        Block("page", 6, "text", "```\nb\n~~~\n"),
        Block("page", 11, "", "\n"),
    ]
    with pytest.raises(AssertionError, match="page:1: this block has no end"):
        list(blocks_of("page", "```python\n1\n"))


# Blocks of Python.  Those of a page run one after the other in one process, as a reader goes through it.

# By page, the reader's own code that its blocks go on from.
READERS_OWN: dict[str, str] = {}
# By page and first line, blocks that are not run, and why: they need a GPU, vLLM, a download of gigabytes.
NOT_RUN: dict[tuple[str, str], str] = {}

RUN_BLOCKS = """
import json, sys
own, blocks = json.loads(sys.argv[1])
names = {"__name__": "__main__"}
exec(own, names)
for page, line, text in blocks:
    exec(compile("\\n" * line + text, page, "exec"), names)
print("ran", len(blocks))
"""


@pytest.mark.parametrize("page", sorted({block.page for block in blocks_in("python")}))
def test_python_blocks_run(run: Run, page: str) -> None:
    found = [block for block in blocks_in("python") if block.page == page]
    tried = [block for block in found if (page, block.first_line) not in NOT_RUN]
    own = READERS_OWN.get(page, "")
    if re.search(
        r"^\s*(import|from) torch\b", "\n".join([own, *(block.text for block in tried)]), re.MULTILINE
    ):
        pytest.importorskip("torch")
    done = run(RUN_BLOCKS, json.dumps([own, [(block.page, block.line, block.text) for block in tried]]))
    assert done.stdout.splitlines()[-1] == f"ran {len(tried)}"
    reasons = [
        f"line {block.line}: {NOT_RUN[page, block.first_line]}" for block in found if block not in tried
    ]
    if reasons:
        pytest.skip("; ".join(reasons))


def test_tables_of_blocks_name_blocks() -> None:
    """No exception outlives its block."""
    assert set(READERS_OWN) <= {block.page for block in blocks_in("python")}
    assert set(NOT_RUN) <= {(block.page, block.first_line) for block in blocks_in("python")}
    assert set(LOOKED_AT) <= {block.first_line for block in PRINTED}


# Commands, of blocks and of words in the text.

# Programs whose arguments nothing here knows.
OTHERS = ("cd", "git", "pyenv", "rm", "torchrun")


def commands_of(text: str) -> Iterator[tuple[dict[str, str], str, list[str]]]:
    """Yield the variables, the program and the arguments of each simple command of a shell."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        tokens = iter([*lexer, ";"])
        for token in tokens:
            if set(token) <= set("<>&") and set(token) & set("<>"):
                next(tokens)  # the file that it reads or writes
            elif not set(token) <= set("();|&"):
                words.append(token)
            else:
                if words:
                    yield command_of(words)
                words = []


def command_of(words: list[str]) -> tuple[dict[str, str], str, list[str]]:
    variables = {}
    while words and (words[0] == "export" or re.match(r"[A-Z_]+=", words[0])):
        name, is_set, value = words.pop(0).partition("=")
        variables |= {name: value} if is_set else {}
    return variables, Path(words[0]).name if words else "", words[1:]


def problem_of(variables: dict[str, str], program: str, arguments: list[str]) -> str:
    """Return what is wrong with a command; an empty text where nothing is."""
    unknown = {name for name in variables if name.startswith("LOWERING_HOOKS")} - known_variables()
    if unknown:
        return f"no such variables: {', '.join(unknown)}"
    if program in ("python", "python3") and arguments[:1] == ["-m"]:
        program, arguments = arguments[1].replace("_", "-"), arguments[2:]
    if program == "uv" and arguments[:1] == ["pip"]:
        program, arguments = arguments[0], arguments[1:]
    checks: dict[str, Callable[[list[str]], str]] = {
        "": lambda _: "",
        "lowering-hooks": problem_of_ours,
        "nox": problem_of_nox,
        "pip": problem_of_pip,
        "python": problem_of_script,
        "python3": problem_of_script,
        "venv": lambda _: "",
        **dict.fromkeys(OTHERS, lambda _: ""),
    }
    return checks[program](arguments) if program in checks else f"nothing here checks {program}"


def problem_of_ours(arguments: list[str]) -> str:
    try:
        cli.parser().parse_args(arguments)
    except SystemExit as ended:
        return f"exit status {ended.code}" if ended.code else ""
    return ""


def problem_of_nox(arguments: list[str]) -> str:
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    series = {row.series for row in RELEASES}
    option = ""
    for argument in own:
        if argument.startswith("-"):
            option = argument
            if option not in ("-s", "-t", "-l", "-r"):
                return f"nothing here knows nox {option}"
        elif option == "-t" and f'"{argument}"' not in (ROOT / "tools" / "environments.py").read_text():
            return f"no session has the tag {argument}"
        elif option == "-s":
            named = re.fullmatch(r"([a-z-]+)(?:\(torch='([0-9.]+)'\))?", argument)
            if named is None or named[1] not in sessions() or named[2] not in (series | {None}):
                return f"no such session: {argument}"
    files = [argument for argument in arguments[len(own) + 1 :] if "/" in argument]
    missing = [file for file in files if not (ROOT / file).exists()]
    return f"no such files: {', '.join(missing)}" if missing else ""


def problem_of_pip(arguments: list[str]) -> str:
    pyproject = (ROOT / "pyproject.toml").read_text()
    groups = [group for option, group in itertools.pairwise(arguments) if option == "--group"]
    extras = [
        name for argument in arguments for name in re.findall(r"^(?:\.|lowering-hooks)\[(.+)\]", argument)
    ]
    missing = [name for name in groups + extras if not re.search(rf"^{name} = \[", pyproject, re.MULTILINE)]
    return f"no such groups or extras: {', '.join(missing)}" if missing else ""


def problem_of_script(arguments: list[str]) -> str:
    if arguments[:1] == ["-c"]:
        compile(arguments[1], "-c", "exec")
        return ""
    # Without a folder it is the reader's own.
    is_there = not arguments or "/" not in arguments[0] or (ROOT / arguments[0]).is_file()
    return "" if is_there else f"no such script: {arguments[0]}"


def known_variables() -> set[str]:
    """Return the variables that the package reads."""
    return set(
        re.findall(r'"(LOWERING_HOOKS[A-Z_]*)"', (ROOT / "lowering_hooks" / "settings.py").read_text())
    )


def typed_in(block: Block) -> str:
    """Return what a shell runs: in a block of a console, the lines behind a ``$``; of a Dockerfile, behind RUN."""
    if block.language not in PROMPTS:
        return block.text
    prompt = PROMPTS[block.language]
    return "".join(
        f"{line.removeprefix(prompt)}\n" for line in block.text.splitlines() if line.startswith(prompt)
    )


def printed_in(block: Block) -> str:
    """Return what a program prints: a text, and in a block of a console the lines without a ``$``."""
    if block.language == "console":
        return "".join(f"{line}\n" for line in block.text.splitlines() if line and not line.startswith("$ "))
    return block.text if block.language == "text" else ""


@pytest.mark.parametrize("block", blocks_in(*SHELL), ids=str)
def test_commands_of_blocks(block: Block) -> None:
    commands = list(commands_of(typed_in(block)))
    assert commands
    assert [(command, problem) for command in commands if (problem := problem_of(*command))] == []


def words_in(page: str) -> list[str]:
    """Return what stands between single backticks in the text of a page, each in one line."""
    text = re.sub(r"^ {0,3}(`{3,}|~{3,}).*?^ {0,3}\1$", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    return [" ".join(words.split()) for words in re.findall(r"`([^`]+)`", text)]


# What is taken for a command where it stands in the text.
BEGINNINGS = ("lowering-hooks ", "nox -", "pip install", "python -m lowering_hooks ", "uv pip install")


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_text(page: str) -> None:
    names = {f"lowering-hooks {name}" for name in names_of_commands()}
    written = [words for words in words_in(page) if words.startswith(BEGINNINGS) and words not in names]
    commands = [command for words in written for command in commands_of(words)]
    assert [(command, problem) for command in commands if (problem := problem_of(*command))] == []


def names_of_commands() -> list[str]:
    (commands,) = (action for action in cli.parser()._actions if action.dest == "command")
    return list(commands.choices or ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("lowering-hooks demo --layers 3 | tee demo.txt", "nothing here checks tee"),
        ("lowering-hooks demo --layers 0", "exit status 2"),
        ("cd x && LOWERING_HOOKS_DETAILS=graph python -m lowering_hooks status", "no such variables: "),
        ("export LOWERING_HOOKS_DETAIL=graph\npython -m lowering_hooks state", "exit status 2"),
        ("nox -s lint wheels", "no such session: wheels"),
        ("nox -s \"tests(torch='1.13')\"", "no such session: "),
        ("nox -t era", "no session has the tag era"),
        ("nox -s tests -- tests/test_nothing.py", "no such files: "),
        ("pip install '.[demos]' --group dev", "no such groups or extras: demos"),
        ("python -m pip install \\\n  --group nothing  # or else", "no such groups or extras: nothing"),
        ("python tools/nothing.py", "no such script: "),
    ],
)
def test_a_wrong_command_is_found(text: str, problem: str) -> None:
    problems = [found for command in commands_of(text) if (found := problem_of(*command))]
    assert len(problems) == 1
    assert problems[0].startswith(problem)


# Names.


@pytest.mark.parametrize("page", PAGES)
def test_names_exist(page: str) -> None:
    variables = set(re.findall(r"\bLOWERING_HOOKS(?:_[A-Z]+)*", PAGES[page]))
    assert variables <= known_variables()
    names = set(re.findall(r"\blowering_hooks\.([a-z_A-Z]\w*)", PAGES[page]))
    modules = {name for name in names if importlib.util.find_spec(f"lowering_hooks.{name}")}
    assert names - modules <= {*lowering_hooks.__all__, "__all__"}


def test_every_name_is_documented() -> None:
    """The reference has every public name, and the README every variable."""
    named = re.findall(r"^\.\. (?:auto\w+|py:data):: (\w+)", PAGES["docs/reference.md"], re.MULTILINE)
    assert sorted(named) == sorted(lowering_hooks.__all__)
    rows = re.findall(r"^\| `(LOWERING_HOOKS[A-Z_]*)` \|", PAGES["README.md"], re.MULTILINE)
    assert sorted(rows) == sorted(known_variables())
    helped = re.findall(r"^lowering-hooks (\w+) --help$", PAGES["docs/command-line.md"], re.MULTILINE)
    assert helped == names_of_commands()


# Texts: what programs print, and pictures.


def has_the_form_of_today(block: Block) -> None:
    """A log line has the lines that are written today, and names the line of the demo that calls the op."""
    lines = block.text.splitlines()
    forms = (
        r"Creating implicit fallback for:",
        r"  target: (?:\w+\.){2}\w+",
        *[r"  (?:args|kwargs)\[\S+\]: \S.*"] * (len(lines) - 4),
        r"  node: (?P<op>\w+) of graph \d+ at (?P<file>\w+\.py):(?P<line>\d+)",
        r"  behind them \d+ nodes?, \d+ kernels? deep; LOWERING_HOOKS_DETAIL=graph shows them",
    )
    found = [re.fullmatch(form, line) for form, line in zip(forms, lines, strict=True)]
    assert all(found), lines
    op, file, number = found[-2].groups()
    (model,) = (ROOT / "lowering_hooks" / "cli" / "worker").glob(file)
    called = re.findall(r"(\w+)\(", model.read_text().splitlines()[int(number) - 1])
    assert [name for name in called if op.startswith(name)], f"{file}:{number} does not call {op}"


def names_every_state(block: Block) -> None:
    assert sorted(re.findall(r"\| (\w+) \|", block.text)) == sorted(typing.get_args(lowering_hooks.State))


# By first line, what is looked at in a text; a reason where nothing can be.
LOOKED_AT: dict[str, Callable[[Block], None] | str] = {
    "Creating implicit fallback for:": has_the_form_of_today,
    "imported before Inductor             imported after Inductor": names_every_state,
    "torch.compile(model)(x)": "a picture of Inductor, which no program prints",
    '  File "torch/_inductor/ir.py", line 7166 in <listcomp>': "the stack of a hang of PyTorch 2.12.1, as stock",
}


PRINTED = [block._replace(text=text) for block in BLOCKS if (text := printed_in(block))]
LOOKED_INTO = [block for block in PRINTED if not isinstance(LOOKED_AT.get(block.first_line), str)]


@pytest.mark.parametrize("block", LOOKED_INTO, ids=str)
def test_texts(block: Block, cache: Path) -> None:
    if block.page == "docs/texts.md":
        is_written_today(block, cache)
        return
    look = LOOKED_AT[block.first_line]
    assert not isinstance(look, str)
    look(block)


def is_written_today(block: Block, cache: Path) -> None:
    """docs/texts.md has what the PyTorch that it names writes today."""
    written_on = re.search(r"\(PyTorch (\S+),", PAGES[block.page])
    assert written_on
    if torch_version() != written_on[1]:
        pytest.skip(f"written on PyTorch {written_on[1]}")
    heading = [line for line in PAGES[block.page].splitlines()[: block.line] if line.startswith("## ")][-1]
    detail = re.search(r"LOWERING_HOOKS_DETAIL=(\w+)", heading)
    variant = detail[1] if detail else "stock"
    assert make_texts.text_of(variant, make_texts.SHOWN_LAYERS, str(cache))[1] == block.text.rstrip("\n")


def is_covered(block: Block) -> bool:
    printed = block._replace(text=printed_in(block))
    is_looked_at = not printed.text or printed.page == "docs/texts.md" or printed.first_line in LOOKED_AT
    return is_looked_at and block.language in ("python", "text", *SHELL, *SITE)


def test_every_block_is_covered() -> None:
    assert [f"{block}: {block.language or 'no language'}" for block in BLOCKS if not is_covered(block)] == []
    assert {"README.md", "docs/how-it-works.md"} <= {block.page for block in BLOCKS}


# The links of the site.


def test_links_of_a_site(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "picture.svg").touch()
    (tmp_path / "sub.html").write_text("<h1 id='there'>")
    (tmp_path / "style.css").write_text("a { background: url('https://elsewhere/font') }")
    page = tmp_path / "pages" / "page.html"
    good = "<a href='#here'><a id=here href='../sub.html#there'><img src='../picture.svg'><a href='https://elsewhere/'>"
    page.write_text(good)
    problems, elsewhere = check_links.problems_and_links(tmp_path)
    assert problems == ["style.css: fetched from elsewhere: url('https://"]
    assert elsewhere == {"https://elsewhere/"}

    (tmp_path / "style.css").unlink()
    page.write_text(
        "<a href='../none.html'><a href='../sub.html#here'><a href='#there'><img src='none.svg'>"
        "<script src='//elsewhere/script'></script><link rel=stylesheet href='https://elsewhere/style'>"
    )
    problems, _ = check_links.problems_and_links(tmp_path)
    assert [problem.removeprefix("pages/page.html: ") for problem in problems] == [
        "leads nowhere: ../none.html",
        "leads nowhere: ../sub.html#here",
        "leads nowhere: #there",
        "leads nowhere: none.svg",
        "fetched from elsewhere: //elsewhere/script",
        "fetched from elsewhere: https://elsewhere/style",
    ]
    assert check_links.main(tmp_path) == 1
    page.write_text(good)
    assert check_links.main(tmp_path) == 0
    page.unlink()
    (tmp_path / "sub.html").unlink()
    assert check_links.main(tmp_path) == 1
