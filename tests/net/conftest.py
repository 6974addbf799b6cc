"""These tests make network namespaces and talk to the kernel in them, so they need Linux and root."""

import os
import sys

import pytest

from gfwd.daemon.namespaces import Namespace
from gfwd.errors import GfwdError


@pytest.fixture(scope="session", autouse=True)
def namespaces():
    if sys.platform != "linux":
        pytest.skip("needs Linux's network namespaces")
    if os.geteuid() != 0:
        pytest.skip("needs root, to make network namespaces")
    try:
        Namespace().close()
    except GfwdError as error:
        pytest.skip(str(error))
