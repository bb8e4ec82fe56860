# SPDX-License-Identifier: GPL-2.0-only
"""What is mapped outside the window now, by sources that do not depend on each other."""
