"""Numbers in sentences."""

_MINUTE_S, _HOUR_S = 60, 3_600


def many(n: int, noun: str) -> str:
    """1 rule, 2 rules, 10,000 rules."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def rate_text(per_second: float) -> str:
    """1,200/s, 2.5/s; what comes more seldom, in a minute or an hour: 12/min, 0.5/h."""
    if per_second >= 1:
        return f"{_digits(per_second)}/s"
    if per_second * _MINUTE_S >= 1:
        return f"{_digits(per_second * _MINUTE_S)}/min"
    return f"{_digits(per_second * _HOUR_S)}/h"


def _digits(number: float) -> str:
    """Two that count, at least."""
    return f"{number:,.1f}".removesuffix(".0") if number < 10 else f"{number:,.0f}"
