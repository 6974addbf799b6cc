"""For commands whose exit status 1 is an answer, and nothing that went wrong: trouble is 2, as with diff(1)."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from gfwd.errors import GfwdError


class Trouble(GfwdError):
    """The question could not be answered."""

    exit_status = 2


@contextmanager
def answering() -> Iterator[None]:
    """Whatever fails in the block, and in the writing of what it has printed, is trouble."""
    try:
        yield
        if sys.stdout is not None:  # None: whoever started us has closed it
            sys.stdout.flush()
    except BrokenPipeError:
        raise  # whoever read our output has left, and knows
    except OSError as error:
        sys.stdout = None  # what could not be written now cannot be written later
        raise Trouble(f"{error.filename or 'gfwd'}: error: {error.strerror or error}") from None
    except GfwdError as error:
        raise Trouble(str(error)) from None
