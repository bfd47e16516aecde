"""The documents name what there is."""

from __future__ import annotations

import re
from pathlib import Path

from farm.settings import PREFIX, Settings
from jobs.metrics import METRICS

ROOT = Path(__file__).resolve().parents[2]


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    documented = set(re.findall(rf"`{PREFIX}([A-Z0-9_]+)`", text))
    assert documented == {name.upper() for name in Settings.model_fields}


def test_every_package_is_described() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    packages = {path.parent.name for path in ROOT.glob("*/py.typed")}
    assert set(re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)) == packages


def test_links_between_documents_lead_somewhere() -> None:
    documents = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    for document in documents:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_code_of_an_error_is_documented() -> None:
    sources = [*ROOT.glob("pipeline/*.py"), *ROOT.glob("transcoder/*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    given = set(re.findall(r'(?:Unplayable\(\s*|Problem\(\s*code=)"([a-z_]+)"', text))
    given |= set(re.findall(r'code="(\w+)" if .* else "(\w+)"', text)[0])
    documented = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    assert given == set(re.findall(r"^\| `([a-z_]+)` \|", documented, re.MULTILINE))


def test_every_metric_is_documented_as_it_is() -> None:
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(reelfarm_\w+)` \| (\w+) \|(.*?)\| (.+) \|$", text, re.MULTILINE)
    documented = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)), told)
        for name, kind, labels, told in rows
    }
    assert documented == {m.name: (m.kind, m.labels, m.help) for m in METRICS}
