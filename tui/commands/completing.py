# SPDX-License-Identifier: GPL-2.0-only
"""Completes file and sample names for the shell on TAB; click completes commands and options.

Without these a shell that completes ``vmemscope`` would offer no file at all there.
"""

import glob

import click
from click.shell_completion import CompletionItem

from recordings.samples import PREFIX, sample_names


def files(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Leave completion of file names to the shell."""
    return [CompletionItem(incomplete, type="file")]


def files_or_samples(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer ``sample:NAME`` once that is begun and no file begins like it; else files."""
    samples = [f"{PREFIX}{name}" for name in sample_names()]
    begun = [name for name in samples if incomplete and name.startswith(incomplete)]
    if begun and not glob.glob(f"{glob.escape(incomplete)}*"):  # noqa: PTH207 (text, no Path)
        return [CompletionItem(name) for name in begun]
    return files(context, parameter, incomplete)
