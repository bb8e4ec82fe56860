"""Capture: what fills recordings, from a running kernel or from a log."""
