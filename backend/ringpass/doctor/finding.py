# SPDX-License-Identifier: BSD-2-Clause
"""What a check of the machine found."""

from typing import Literal

import msgspec

Status = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was checked.

    `ok`: nothing to do. `warn`: something works less well, or not for everybody. `fail`: guests
    cannot use ringpass on this machine before `fix` is done. `fix` is empty if there is nothing
    to do, or nothing that can be done.
    """

    check: str
    status: Status
    what: str
    why: str = ""
    fix: str = ""
