"""The contract suite over every store of ours."""

from bide.testing.store_contract import *  # noqa: F403 - the suite is written to be imported so
