"""The recording format: its bytes on disk, written and read, and nothing of what they mean."""
