"""Check: what a source of notes holds, and what it can be used for.

step.py makes facts of notes in worker processes; findings.py counts them; readiness.py says what each task can be
trained on; page.py and stub.py write what was found; check.py is the command.
"""
