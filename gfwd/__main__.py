"""`python -m gfwd`: the same as the command `gfwd`."""

import sys

from gfwd.cli import main

sys.exit(main())
