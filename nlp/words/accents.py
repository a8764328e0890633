"""Letters without their accents."""

import unicodedata


def without_accents(text: str) -> str:
    """Each accented letter as its base letter ("é" as "e"): another length where one is several characters."""
    if text.isascii():
        return text
    return "".join(
        letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter)
    )
