# SPDX-License-Identifier: GPL-2.0-only
"""Runs a live capture for the commands record and live: signals, messages, the output stream."""
