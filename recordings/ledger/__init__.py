# SPDX-License-Identifier: GPL-2.0-only
"""The ledger: folds events into numbers and a verdict; knows no file and no output."""
