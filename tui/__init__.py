# SPDX-License-Identifier: GPL-2.0-only
"""Top floor: the command and the dashboard. Shows what recordings keep; owns no numbers."""
