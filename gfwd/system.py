"""What gfwd runs on: asked at run time, since in the single binary sys.platform is the answer of who made it."""

import os
from typing import Final

NAME: Final = os.uname().sysname
"""Linux, FreeBSD, …"""

is_binary = False
"""Whether this is the single binary (build/binary.py): started by one file, and no interpreter is at hand."""
