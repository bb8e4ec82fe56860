"""Kernel logs: WARN splats as events, with arguments only where they are proven."""
