"""The one exception a user can meet; everything else is a bug of ours."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in the input, said in one line: where, what, the value found and expected, what to do."""

    def __init__(
        self,
        where: str,
        what: str,
        *,
        found: object = None,
        expected: object = None,
        fix: str = "",
    ) -> None:
        self.where, self.what, self.found, self.expected, self.fix = where, what, found, expected, fix
        message = f"{where}: {what}"
        if found is not None:
            message += f", found {found}"
        if expected is not None:
            message += f", expected {expected}"
        if not message.endswith("."):
            message += "."
        super().__init__(f"{message} {fix}".rstrip())
