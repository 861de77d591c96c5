"""Handles on the executions of a simulation."""

from typing import TYPE_CHECKING, Any, cast

from typing_extensions import TypeVar

from bide.app.handles import Execution
from bide.planning.plan import Plan
from bide.runtime.runtime import Runtime
from bide.runtime.watch import Condition, Seen

if TYPE_CHECKING:
    from bide.testing.simulation import Simulation

Out_co = TypeVar("Out_co", covariant=True)


class SimulatedExecution(Execution[Out_co]):
    """A handle that outlives the process: waiting lets time pass, and its verbs are asked again."""

    __slots__ = ("_sim",)

    def __init__(
        self, sim: "Simulation", plan: Plan, id: str, *, duplicate: bool, tenant: str
    ) -> None:
        # It reads from whichever process there is.
        current = cast("Runtime", _Current(sim))
        super().__init__(current, plan, id, duplicate=duplicate, tenant=tenant)
        self._sim = sim

    async def _until(self, condition: Condition, timeout_s: float | None) -> Seen:
        return await self._sim._reach(self._tenant, self._existing_id(), condition, timeout_s)

    async def cancel(self, reason: str = "") -> None:
        await self._sim._asked(
            lambda runtime: runtime.service.cancel(self._tenant, self.execution_id, reason),
            counts_each=True,
        )


class _Current:
    """Whatever runtime the simulation has at the moment."""

    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sim._open, name)
