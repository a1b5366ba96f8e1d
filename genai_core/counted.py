"""Numbers with their nouns, for messages."""

_WITH_ES = ("ch", "s", "sh", "x")
_VOWELS = "aeiou"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, regular plurals only: "1 file", "0 files", "1,200 branches", "2 entries"."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith(_WITH_ES):
        return f"{number:,} {noun}es"
    if noun.endswith("y") and noun[-2] not in _VOWELS:
        return f"{number:,} {noun[:-1]}ies"
    return f"{number:,} {noun}s"
