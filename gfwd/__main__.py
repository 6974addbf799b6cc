"""`python -m gfwd`: the same as the command `gfwd`."""

import sys

from gfwd import system
from gfwd.cli import main

system.is_binary = "__compiled__" in globals()  # by Nuitka, which compiles this module only
sys.exit(main())
