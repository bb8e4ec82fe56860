# SPDX-License-Identifier: GPL-2.0-only
"""The options that describe a window in numbers, which several commands have.

Promises: one definition of each, and a number that cannot be read is a usage error with the reason.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from tui.commands.numbers import number, signed_number

_F = TypeVar("_F", bound=Callable[..., Any])


def parsed_by(read: Callable[[str], object]) -> Callable[..., object]:
    """Return a callback that parses an option with ``read``; click's own types hide the reason."""

    def callback(context: click.Context, option: click.Parameter, text: str | None) -> object:
        try:
            return None if text is None else read(text)
        except ValueError as error:
            raise click.BadParameter(str(error), context, option) from None

    return callback


_NUMBER: Final[Any] = {"callback": parsed_by(number), "metavar": "N"}
_OPTIONS: Final = (
    click.option("--va-bits", **_NUMBER, help="CONFIG_ARM64_VA_BITS: 36 to 52."),
    click.option("--page-size", **_NUMBER, help="4K, 16K or 64K."),
    click.option("--struct-page", **_NUMBER, help="sizeof(struct page), mostly 64."),
    click.option("--release", help="Kernel release such as 6.1: decides the formula."),
    click.option(
        "--memstart",
        metavar="N",
        callback=parsed_by(signed_number),
        help="memstart_addr (PHYS_OFFSET in vmcoreinfo); below 0 with KASLR.",
    ),
    click.option(
        "--ram",
        **_NUMBER,
        help="Where RAM begins: memstart_addr as the kernel makes it of that without KASLR.",
    ),
    click.option(
        "--vabits-actual",
        **_NUMBER,
        help="Bits in use by a kernel built for 52: 48 (16K pages: 47) where the CPU has no 52.",
    ),
)


def calculator(function: _F) -> _F:
    """Give a command the options that describe a window in numbers."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
