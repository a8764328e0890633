"""Letters without their accents."""

import unicodedata


def without_accents(text: str) -> str:
    """The text with base letters for accented ones ("é" as "e"). The length of the text can change."""
    if text.isascii():
        return text
    return "".join(
        letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter)
    )
