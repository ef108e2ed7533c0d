# SPDX-License-Identifier: BSD-2-Clause
"""What keeps the QEMU of a domain from a port."""

import msgspec

from ringpass.errors import Denied


class Problem(msgspec.Struct, frozen=True):
    """Something that QEMU may not do, why, and the command that lets it."""

    what: str
    why: str
    fix: str
    certain: bool = True
    """Whether QEMU fails by it, as far as can be told from here."""

    def error(self) -> Denied:
        """Return it as an error."""
        return Denied(self.what, self.why, self.fix)
