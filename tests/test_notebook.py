"""What the last expression of a notebook's cell shows, as IPython asks for it."""

from __future__ import annotations

import pytest

import lowering_hooks
from lowering_hooks import OpReport, Report

OP = OpReport("mylib.<op>.default", "0", "node", 1, 0, 0.0, shown=False, stock_characters=0, allowed=False)


class Printer:
    """IPython's, as far as an object needs it."""

    def __init__(self) -> None:
        self.written = ""

    def text(self, text: str) -> None:
        self.written += text


@pytest.mark.parametrize(
    "shown", [lowering_hooks.status(), Report((OP,)), Report(())], ids=["status", "ops", "none"]
)
def test_a_terminal_shows_what_print_shows(shown) -> None:
    """IPython without HTML shows the same lines."""
    printer = Printer()
    shown._repr_pretty_(printer, False)
    assert printer.written == str(shown)


def test_a_status_is_a_table() -> None:
    """Each line of the text is a row, and what looks like HTML is text."""
    status = lowering_hooks.status()._replace(reason="a < b", conflicts=("one", "two"))
    html = status._repr_html_()
    for row in ("state</th>", "a &lt; b</td>", "one<br>two</td>", ">vllm, vllm_aiter</td>"):
        assert row in html
    assert html.count("<tr>") == len(str(status).splitlines()) - 1  # the two conflicts are one row
    assert html.startswith("<table>")
    assert html.endswith("</table>")


def test_a_report_is_a_table() -> None:
    """One row for each op under the headings, and the advice below."""
    html = Report((OP, OP))._repr_html_()
    assert html.count("<tr>") == 3
    assert "mylib.&lt;op&gt;.default</td>" in html
    assert "lowering_hooks.allow(&#x27;mylib&#x27;)" in html
    assert Report(())._repr_html_() == "<p>no op fell back implicitly, and no text was cut</p>"
