"""Top floor: the command and the dashboard. Shows what recordings keep; owns no numbers."""
