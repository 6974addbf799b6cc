"""Text from the wire that a terminal can be trusted with: whoever sends a datagram must not move its cursor."""


def printable(text: bytes | str, most: int | None = None) -> str:
    """The text, with all that is no printable character, or not UTF-8, written as \\x1b; cut after `most` characters,
    which shows.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    if most is not None and len(text) > most:
        text = text[:most] + "…"
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
