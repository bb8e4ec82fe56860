# SPDX-License-Identifier: GPL-2.0-only
"""The ledger: events in, numbers out, up to the verdict; knows no file and no output."""
