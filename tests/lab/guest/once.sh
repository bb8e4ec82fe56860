#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# 6.1-once: the same calls with WARN_ON_ONCE.
. /lab/lib.sh
record storm --engine bcc -- sh -c "$(device 0x5000000000 16384)"
