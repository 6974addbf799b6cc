"""The text that Prometheus reads: whatever is in a label comes out of it again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.metrics.exposition import Family, page
from tests import exposition

PLAIN = Family("gfwd_plain", "gauge", "A \\ and a\nline end")
TWO = Family("gfwd_two_total", "counter", "Two labels", ("one", "other"))

VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
COUNTS = st.integers(0, (1 << 64) - 1) | st.floats(0, 1e20)


def test_a_page() -> None:
    assert page([TWO, PLAIN], [PLAIN(1.5), TWO(3, 'a"\\b', "c\nd"), TWO(4, "", "é")]).decode() == (
        "# HELP gfwd_two_total Two labels\n"
        "# TYPE gfwd_two_total counter\n"
        'gfwd_two_total{one="a\\"\\\\b",other="c\\nd"} 3\n'
        'gfwd_two_total{one="",other="é"} 4\n'
        "# HELP gfwd_plain A \\\\ and a\\nline end\n"
        "# TYPE gfwd_plain gauge\n"
        "gfwd_plain 1.5\n"
    )


def test_a_family_without_samples_is_left_out() -> None:
    assert page([TWO, PLAIN], [PLAIN(0)]).count(b"TYPE") == 1
    assert page([TWO, PLAIN], []) == b""


def test_what_is_no_text_is_still_a_page() -> None:
    """A file's name may hold bytes that are no UTF-8, which Python keeps as lone surrogates."""
    assert b'one="\\udcff"' in page([TWO], [TWO(1, "\udcff", "")])


@given(st.dictionaries(st.tuples(VALUES, VALUES), COUNTS, min_size=1, max_size=5))
def test_what_was_written_is_what_is_read(samples: dict[tuple[str, str], float]) -> None:
    families = exposition.read(page([TWO], [TWO(n, *labels) for labels, n in samples.items()]))
    wanted = {frozenset({("one", one), ("other", other)}): float(n) for (one, other), n in samples.items()}
    assert families["gfwd_two_total"].samples == wanted


@given(st.dictionaries(st.tuples(VALUES, VALUES), COUNTS, min_size=1, max_size=5))
def test_prometheus_own_reader_reads_the_same(samples: dict[tuple[str, str], float]) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    text = page([TWO], [TWO(n, *labels) for labels, n in samples.items()]).decode()
    (family,) = parser.text_string_to_metric_families(text)
    read = {(one.labels["one"], one.labels["other"]): float(one.value) for one in family.samples}
    assert (family.type, read) == ("counter", {labels: float(n) for labels, n in samples.items()})


@pytest.mark.parametrize(
    "text",
    [
        "gfwd_plain 1\n",
        "# HELP gfwd_plain x\ngfwd_plain 1\n",
        "# HELP gfwd_plain x\n# TYPE gfwd_plain counter\ngfwd_plain 1\n",
        "# HELP gfwd_plain x\n# TYPE gfwd_plain gauge\n",
        "# HELP gfwd_plain x\n# TYPE gfwd_plain gauge\ngfwd_other 1\n",
        "# HELP gfwd_plain x\n# TYPE gfwd_plain gauge\ngfwd_plain one\n",
        "# HELP gfwd_plain x\n# TYPE gfwd_plain gauge\ngfwd_plain 1\ngfwd_plain 1\n",
        '# HELP gfwd_plain x\n# TYPE gfwd_plain gauge\ngfwd_plain{a="\\q"} 1\n',
        '# HELP gfwd_plain x\n# TYPE gfwd_plain gauge\ngfwd_plain{a="b} 1\n',
        '# HELP gfwd_plain x\n# TYPE gfwd_plain gauge\ngfwd_plain{a="b",} 1\n',
        "# HELP gfwd_plain x\n# TYPE gfwd_plain gauge\ngfwd_plain 1",
        "\n",
    ],
)
def test_the_reader_of_the_tests_is_strict(text: str) -> None:
    with pytest.raises(AssertionError):
        exposition.read(text.encode())
