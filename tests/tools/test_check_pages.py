"""What a page must not say, and data must not hold, is found wherever it stands.  Needs no PyTorch."""

from __future__ import annotations

import check_pages
import pytest
from verdicts import Verdict, claims


@pytest.fixture
def root(monkeypatch, tmp_path):
    """A checkout with empty folders of pages and data."""
    for folder in ("docs/sub", "benchmarks/results"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(check_pages, "ROOT", tmp_path)
    return tmp_path


def test_a_claim_that_fails(root) -> None:
    """It is told with its page; one that holds, and one without a verdict, is not."""
    told = [Verdict("it works", True), Verdict("it works on 2.0", None), Verdict("it is quick", False, "9 s")]
    (root / "docs" / "page.md").write_text(claims(told))
    assert [*check_pages.failing_claims()] == [
        "docs/page.md: a claim does not hold: | it is quick | FAILS | 9 s |"
    ]


@pytest.mark.parametrize("folder", ["/home/me", "/var/x", "/srv/clone", "/mnt/disk", "/Users/me"])
@pytest.mark.parametrize(
    "file", ["docs/a.json", "docs/sub/a.json", "benchmarks/a.json", "benchmarks/results/a.json"]
)
def test_a_folder_of_a_machine(root, folder: str, file: str) -> None:
    """It is told, in whatever file of data it stands."""
    (root / file).write_text(f'{{"error": "{folder}/model.py:3"}}')
    assert [*check_pages.machine_paths()] == [
        f"{file}: names a folder of the machine that measured: {folder}/model.py:3"
    ]
