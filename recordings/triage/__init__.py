# SPDX-License-Identifier: GPL-2.0-only
"""From what a reporter sends to numbers: finds the logs and the machine's files in it."""
