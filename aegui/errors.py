"""Errors a user can cause. Anything else that escapes is a bug."""


class UserError(Exception):
    """A problem the user can solve.

    message: one plain sentence that names the thing. hint: what to do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, str]]:
        return type(self), (self.message, self.hint)


class Cancelled(Exception):  # noqa: N818 - a request, not an error
    """The user stopped a job that has nothing worth keeping."""
