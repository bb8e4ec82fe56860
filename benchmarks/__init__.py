"""Measurements against a named peer in the same run: ``make bench``. Figures, never verdicts."""
