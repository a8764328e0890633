"""The plain text of a note in RTF, HTML or C-CDA, or with HL7 v2 or JSON escapes, dictation commands, quoted mail."""
