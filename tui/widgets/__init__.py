"""Widgets of the dashboard: each renders the newest snapshot and knows no source."""
