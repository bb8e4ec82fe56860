"""A capture under a command: opened, watched, narrated and ended by signals."""
