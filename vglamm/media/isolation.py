"""Leaving the network: a process moves itself into an empty network namespace, in which a decoder under attack reaches nobody.

It takes a new user namespace, too, since without one only root may. There the process is nobody: it still owns its files, but root
loses the right to read those of others. Whether a kernel allows this is for ``vglamm doctor`` to say.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys

log = logging.getLogger(__name__)

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000


def leave_network() -> bool:
    """Move this process, which must have one thread only, into an empty network namespace. False where that is not possible."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_USER | _NEW_NETWORK) == 0:
        return True
    log.debug("still in the network: %s", os.strerror(ctypes.get_errno()))
    return False


if __name__ == "__main__":
    sys.exit(0 if leave_network() else 1)
