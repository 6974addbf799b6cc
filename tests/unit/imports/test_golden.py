"""Golden files: a configuration → the rules printed (.ok) and the remarks (.warn)."""

from pathlib import Path

import pytest

from gfwd.imports import nfcapd, pmacct, samplicator
from gfwd.imports.imported import Imported
from gfwd.imports.report import read_text
from gfwd.rules.classic import parse

FOLDER = Path(__file__).parents[2] / "golden" / "import"
PROGRAMS = {
    "samplicator.conf": lambda name: samplicator.import_file(read_text(name), name, None),
    "nfacctd.conf": lambda name: pmacct.import_file(read_text(name), name, None, read_text),
    "sfacctd.conf": lambda name: pmacct.import_file(read_text(name), name, None, read_text),
    "nfcapd.service": lambda name: nfcapd.import_file(read_text(name), name, None),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_rules_and_remarks(name, monkeypatch):
    monkeypatch.chdir(FOLDER)
    outcome: Imported = PROGRAMS[name](name)
    golden = FOLDER / name
    assert outcome.text() == golden.with_suffix(".ok").read_text()
    assert "".join(f"{remark}\n" for remark in outcome.remarks) == golden.with_suffix(".warn").read_text()
    again = parse(outcome.text(), "again").rules
    assert [rule._replace(line=0) for rule in again] == [rule._replace(line=0) for rule in outcome.rules]
