"""Words of clinical notes: tokens, accents, abbreviations."""
