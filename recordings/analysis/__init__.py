"""Analysis: questions about whole recordings: comparison, what-if, thresholds."""
