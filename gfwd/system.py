"""Which operating system this is. Asked at run time: in a compiled gfwd, sys.platform is the answer of the compiler."""

import os
from typing import Final

NAME: Final = os.uname().sysname
"""Linux, FreeBSD, …"""
