"""The contract suite: what every store has to do, as tests that anybody may run over theirs.

In a test module of yours::

    import pytest
    from bide.testing.store_contract import *  # the suite is written to be imported so
    from bide.testing.store_contract import StoreFactory


    @pytest.fixture
    def store_factory() -> StoreFactory:
        return StoreFactory(name="mine", fresh=open_my_store)

and in your ``conftest.py``, so that a failing assert says what it saw::

    pytest.register_assert_rewrite("bide.testing.store_contract")

It needs pytest and pytest-asyncio. Each test names the duty of `bide.spi.store` that it checks (S1
to S10), or the invariant (I1 ...: once terminal, once completed, once resumed, in order, durable,
fenced). After each test, the invariants of every row are checked as well.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bide.testing.clock import FakeClock
from bide.testing.store_contract.admitting import (
    TestAdmit,
    TestCloseBehind,
    TestDeadline,
    TestKeepLetter,
)
from bide.testing.store_contract.auditing import TestAudit
from bide.testing.store_contract.commits import (
    TestCancelledCaller,
    TestDurability,
    TestPoison,
    TestTime,
    TestTwice,
    TestUnknownOutcome,
)
from bide.testing.store_contract.correlating import (
    TestCorrelation,
    TestEarlyAnswer,
    TestRedrivenKeys,
)
from bide.testing.store_contract.deploys import TestAssign, TestDeploys
from bide.testing.store_contract.dispatching import (
    TestDispatch,
    TestDispatchRows,
    TestDispatchTable,
    TestInFlight,
    TestNotSent,
)
from bide.testing.store_contract.harness import Driver, Faults, StoreFactory
from bide.testing.store_contract.invariants import check_invariants
from bide.testing.store_contract.law import TestAbsentRows, TestExecutionTable, TestInteractionTable
from bide.testing.store_contract.outcomes import TestCollect, TestUnitDeadline
from bide.testing.store_contract.publishing import (
    TestOffer,
    TestPublish,
    TestRetiredPublications,
)
from bide.testing.store_contract.reading import (
    TestExecutions,
    TestHandle,
    TestHistory,
    TestPending,
    TestUpkeep,
)
from bide.testing.store_contract.redriving import TestAskAgain, TestRedrive, TestRejects
from bide.testing.store_contract.running import TestClaim, TestHandover, TestLease, TestSegment
from bide.testing.store_contract.submitting import TestSubmit
from bide.testing.store_contract.telling import TestBacklog, TestTold, TestTraces
from bide.testing.store_contract.tenants import TestTenantWall
from bide.testing.store_contract.waiting import TestPark, TestReplay, TestStream

__all__ = [
    "Faults",
    "StoreFactory",
    "TestAbsentRows",
    "TestAdmit",
    "TestAskAgain",
    "TestAssign",
    "TestAudit",
    "TestBacklog",
    "TestCancelledCaller",
    "TestClaim",
    "TestCloseBehind",
    "TestCollect",
    "TestCorrelation",
    "TestDeadline",
    "TestDeploys",
    "TestDispatch",
    "TestDispatchRows",
    "TestDispatchTable",
    "TestDurability",
    "TestEarlyAnswer",
    "TestExecutionTable",
    "TestExecutions",
    "TestHandle",
    "TestHandover",
    "TestHistory",
    "TestInFlight",
    "TestInteractionTable",
    "TestKeepLetter",
    "TestLease",
    "TestNotSent",
    "TestOffer",
    "TestPark",
    "TestPending",
    "TestPoison",
    "TestPublish",
    "TestRedrive",
    "TestRedrivenKeys",
    "TestRejects",
    "TestReplay",
    "TestRetiredPublications",
    "TestSegment",
    "TestStream",
    "TestSubmit",
    "TestTenantWall",
    "TestTime",
    "TestTold",
    "TestTraces",
    "TestTwice",
    "TestUnitDeadline",
    "TestUnknownOutcome",
    "TestUpkeep",
    "driver",
    "pytestmark",
]

# Marked here and not in a setting, so that the suite runs in either mode of pytest-asyncio.
pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def driver(store_factory: StoreFactory) -> AsyncIterator[Driver]:
    """A new store with its clock; what holds in every state is checked when the test is over."""
    clock = FakeClock()
    async with store_factory.fresh(clock) as store:
        driver = Driver(store, clock, store_factory)
        yield driver
        check_invariants(await driver.dump())
