# SPDX-License-Identifier: GPL-2.0-only
"""What a log's text is wrapped in by those who keep or send it: JSON, the journal, mail, UTF-16."""
