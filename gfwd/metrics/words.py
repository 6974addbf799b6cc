"""Numbers in sentences."""


def many(n: int, noun: str) -> str:
    """1 rule, 2 rules, 10,000 rules."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
