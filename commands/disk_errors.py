"""What a disk or the permissions of a folder stop, as one sentence with the way out."""

from __future__ import annotations

import errno
import os

WAYS_OUT = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, or have the quota raised",
    errno.EFBIG: "have the limit raised (ulimit -f)",
    errno.EROFS: "write elsewhere (--runs)",
    errno.EACCES: "have yourself permitted to write there, or write elsewhere (--runs)",
    errno.EPERM: "have yourself permitted to write there, or write elsewhere (--runs)",
    errno.ENOTDIR: "a folder is wanted where a file lies: name another one (--runs)",
    errno.EIO: "the disk has a fault: write elsewhere (--runs)",
}


def disk_fault(error: BaseException) -> str | None:
    """What to tell the user where an error was caused by a disk; None where it was not.

    Args:
        error: as it was raised; the disk's own error may be behind it.

    Example:
        >>> disk_fault(OSError(errno.ENOSPC, "", "runs/a/checkpoints/last.ckpt"))  # doctest: +ELLIPSIS
        'runs/a/checkpoints/last.ckpt: No space left on device; make room, and give the same command ...'
        >>> disk_fault(OSError(errno.ENOENT, "")) is None
        True
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in WAYS_OUT:
            place = f"{cause.filename}: " if cause.filename else ""
            return (
                f"{place}{os.strerror(cause.errno)}; {WAYS_OUT[cause.errno]}, and give the same command "
                "again (a training run goes on by --ckpt_path last). What was written before is as it was."
            )
        cause = cause.__cause__ or cause.__context__
    return None
