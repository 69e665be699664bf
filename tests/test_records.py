"""What is counted of each op, and how the report tells it."""

from __future__ import annotations

import pytest

from lowering_hooks import records
from lowering_hooks.inductor.site import NOWHERE, Site
from lowering_hooks.records import OpReport, Records, Report, in_words, text_within

SITE = Site("0", "relu", "model.py:3")


def counted_once(found: Records) -> OpReport:
    (op,) = found.report().ops
    return op


def test_a_fallback() -> None:
    """It is one fallback, and no text."""
    found = Records()
    found.fell_back("lib.op.default", SITE)
    assert counted_once(found) == OpReport("lib.op.default", "0", "relu", 1, 0, 0.0, False, 0, 0, True)


def test_a_text() -> None:
    """It is one text, which was not cut."""
    found = Records()
    found.described("lib.op.default", SITE, 1.5, 7, shown=True)
    assert counted_once(found) == OpReport("lib.op.default", "0", "relu", 0, 1, 1.5, True, 7, 0, True)


def test_a_cut_text() -> None:
    """It is one text as well."""
    found = Records()
    found.cut("lib.op.default", SITE, 1.5, 7, shown=True)
    assert counted_once(found) == OpReport("lib.op.default", "0", "relu", 0, 1, 1.5, True, 7, 1, True)


def test_sums() -> None:
    """Every number is added up; an op was shown once it was shown, and allowed while it always was."""
    found = Records()
    for number in (1, 2):
        found.fell_back("lib.op.default", SITE, allowed=number == 1)
        found.described("lib.op.default", NOWHERE, 1.0, 10, shown=number == 1)
        found.cut("lib.op.default", NOWHERE, 0.5, 100, shown=False)
    assert counted_once(found) == OpReport("lib.op.default", "0", "relu", 2, 4, 3.0, True, 220, 2, False)


def test_the_order() -> None:
    """Ops stand in the order in which they were met."""
    found = Records()
    for name in ("lib.b", "lib.a", "lib.b", "lib.c"):
        found.fell_back(name)
    assert [op.op for op in found.report().ops] == ["lib.b", "lib.a", "lib.c"]


def test_a_report_changes_nothing() -> None:
    """It is the same when it is asked for again, until it is reset."""
    found = Records()
    found.fell_back("lib.op.default", allowed=False)
    assert found.report() == found.report()
    assert found.report().not_allowed == ("lib",)
    found.reset()
    assert found.report() == Report(())


@pytest.mark.parametrize("name", ["lib.op.default", "lib::op", "lib::op.overload"])
def test_a_namespace_that_is_allowed_by_now(name) -> None:
    """The report no longer says of its ops that they are not allowed."""
    found = Records()
    found.fell_back(name, allowed=False)
    assert found.report().not_allowed == ("lib",)
    assert found.report(lambda namespace: namespace == "other").not_allowed == ("lib",)
    assert found.report(lambda namespace: namespace == "lib").not_allowed == ()


@pytest.mark.parametrize("name", ["my.lib.op.default", "my.lib::op"])
def test_a_namespace_with_a_dot(name) -> None:
    """The advice names all of it."""
    found = Records()
    found.fell_back(name, allowed=False)
    assert found.report().not_allowed == ("my.lib",)
    assert found.report(lambda namespace: namespace == "my.lib").not_allowed == ()


def test_what_was_not_allowed_but_made_no_fallback() -> None:
    """There is nothing to advise."""
    found = Records()
    found.fell_back("lib.op.default", allowed=False)
    (op,) = found.report().ops
    assert Report((op._replace(fallbacks=0),)).not_allowed == ()


def test_events_are_added_up_in_time(monkeypatch) -> None:
    """The list of events stays below its limit, and no event is lost."""
    monkeypatch.setattr(records, "_MAX_EVENTS", 4)
    found = Records()
    lengths = []
    for _ in range(12):
        found.fell_back("lib.op.default")
        lengths.append(len(found._events))
    assert lengths == [1, 2, 3, 1] + [2, 3, 1] * 2 + [2, 3]
    assert counted_once(found).fallbacks == 12


def test_after_a_fork() -> None:
    """The counts are the parent's, and whoever held the lock there holds none here."""
    found = Records()
    found.fell_back("lib.op.default")
    assert found._adding_up.acquire(blocking=False)
    found.forked()
    assert found.report() == Report(())
    found.fell_back("lib.op.default")
    found.fell_back("lib.op.default")
    found.report()
    assert len(found._events) == 1


@pytest.mark.parametrize(
    ("characters", "text"),
    [
        (0, "-"),
        (1, "1 character"),
        (999_999, "999,999 characters"),
        (1_000_000, "1.0e+06 characters"),
        (36 * 10**12, "3.6e+13 characters"),
    ],
)
def test_numbers_of_characters(characters: int, text: str) -> None:
    """They are written in full up to a million."""
    assert in_words(characters) == text


OPS = (
    OpReport("lib.long_name.default", "0", "relu", 1, 2, 0.25, True, 1_200, 1, True),
    OpReport("mylib.op.default", "", "", 12, 0, 0.5, False, 0, 0, False),
    OpReport("cond", "1 (backward)", "", 0, 1, 0.0, False, 3_000_000, 0, True),
)
TABLE = """\
op                     first met in     fallbacks  texts  cut  seconds in texts  shown  in stock, at least
lib.long_name.default  relu of graph 0          1      2    1          0.250000    yes    1,200 characters
mylib.op.default       -                       12      0    0          0.500000     no                   -
cond                   1 (backward)             0      1    0          0.000000     no  3.0e+06 characters"""
ADVICE = (
    "ops of mylib fell back without being allowed; "
    "lowering_hooks.allow('mylib') has them described in a few lines, where anybody reads them"
)


def test_the_report() -> None:
    """It is a table, texts at the left and numbers at the right, and an advice where one can be had."""
    assert str(Report(OPS)) == f"{TABLE}\n{ADVICE}"
    assert str(Report(OPS[:1])).count("\n") == 1
    assert Report(OPS).seconds == 0.75


NARROW = """\
op, first met in
  fallbacks  texts  cut  seconds in texts  shown  in stock, at least
lib.long_name.default, relu of graph 0
          1      2    1          0.250000    yes    1,200 characters
mylib.op.default, -
         12      0    0          0.500000     no                   -
cond, 1 (backward)
          0      1    0          0.000000     no  3.0e+06 characters
ops of mylib fell back without being
allowed; lowering_hooks.allow('mylib')
has them described in a few lines, where
anybody reads them"""


def test_a_report_in_a_narrow_terminal() -> None:
    """An op's names stand above its numbers, each on its own line where both are too long for one."""
    report = Report(OPS)
    assert text_within(len(ADVICE), report) == str(report)
    assert text_within(len(ADVICE) - 1, report).startswith("op, first met in\n  fallbacks")
    assert text_within(40, report) == NARROW
    names = "lib.long_name.default, relu of graph 0"
    assert text_within(len(names), report).splitlines()[2] == names
    lines = text_within(len(names) - 1, report).splitlines()
    assert lines[2:4] == ["lib.long_name.default", "relu of graph 0"]
    assert text_within(15, report).splitlines()[:5] == [
        "op",
        "first met in",
        NARROW.splitlines()[1],
        "lib.long_name.d",
        "  efault",
    ]
    assert text_within(1, Report(())) == str(Report(()))


def test_an_empty_report() -> None:
    """It says so in a sentence."""
    assert str(Report(())) == "no op fell back implicitly, and no text was cut"
    assert Report(()).seconds == 0


def test_the_report_in_html() -> None:
    """It has the cells of the text, without blanks, and the advice."""
    lines = Report(OPS)._repr_html_().splitlines()
    assert lines[0] == "<table>"
    assert lines[1].count("<th ") == 8
    assert ">first met in</th>" in lines[1]
    assert [line.count("<td ") for line in lines[2:5]] == [8, 8, 8]
    assert ">relu of graph 0</td>" in lines[2]
    assert lines[5:] == ["</table>", f"<p>{ADVICE.replace(chr(39), '&#x27;')}</p>"]
