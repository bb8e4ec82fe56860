#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# 6.1: the dashboard in a terminal while the storm passes; screens as text.
. /lab/lib.sh
live "$(device 0x5000000000 16384)" "256 of 256"
