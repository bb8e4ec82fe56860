"""Live sources: events out of the running kernel, and what could be attached how."""
