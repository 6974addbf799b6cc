"""The workers' tables as one, and rates between two looks."""

import pytest

from gfwd.metrics.unknown import Looks, key_of, merged, rate_since_first
from gfwd.metrics.words import rate_text
from gfwd.native.core import Count, Unknown

ADDRESS = bytes((10, 9, 9, 9))


def entry(
    packets: int, first: int, last: int, *, address: bytes = ADDRESS, port: int = 514, family: int = 4
) -> Unknown:
    return Unknown(
        family=family,
        address=address,
        port=port,
        source_port=last,
        length=last,
        payload=bytes((last % 256,)),
        packets=packets,
        bytes=100 * packets,
        first=first,
        last=last,
    )


def nobody(packets: int) -> Unknown:
    return entry(packets, 0, 0, address=b"", port=0, family=0)


def test_two_workers_that_saw_the_same():
    others = bytes((10, 9, 9, 8))
    found, count = merged([nobody(3), entry(5, 10, 90), nobody(4), entry(6, 20, 80), entry(1, 7, 7, address=others)])
    assert count == Count(7, 700)
    assert found == [
        entry(11, 10, 90)._replace(source_port=90, length=90, payload=bytes((90,))),
        entry(1, 7, 7, address=others),
    ]
    assert merged([]) == ([], Count(0, 0))


def test_another_port_is_another_entry():
    assert len(merged([entry(1, 1, 1), entry(1, 1, 1, port=515)])[0]) == 2


def test_rates_between_looks():
    looks, key = Looks(), key_of(entry(1, 1, 1))
    assert looks.take([entry(10, 1, 1)], 100.0) is None
    assert looks.take([entry(15, 1, 1)], 100.5) is None  # too soon to say
    rates = looks.take([entry(30, 1, 1), entry(8, 1, 1, port=9)], 104.0)
    assert rates is not None and rates.seconds == 4.0
    assert rates.of == {key: 5.0, key_of(entry(1, 1, 1, port=9)): 2.0}
    assert looks.take([entry(90, 1, 1)], 104.2) == rates
    again = looks.take([entry(3, 1, 1)], 106.0)  # it had left the table, and begins anew
    assert again is not None and again.of == {key: 1.5}


def test_rate_since_the_first():
    second = 10**9
    assert rate_since_first(entry(30, 5 * second, 9 * second), 15 * second) == 3.0
    assert rate_since_first(entry(30, 5 * second, 5 * second), 5 * second) == 30.0
    assert rate_since_first(entry(2, 5 * second, 5 * second), 4 * second) == 2.0  # a clock that was set back


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (1234.5, "1,234/s"),
        (12.34, "12/s"),
        (9.96, "10/s"),
        (2.0, "2/s"),
        (1.26, "1.3/s"),
        (0.5, "30/min"),
        (0.02, "1.2/min"),
        (0.01, "36/h"),
        (0.0001, "0.4/h"),
        (0, "0/h"),
    ],
)
def test_rates_in_words(rate, text):
    assert rate_text(rate) == text
