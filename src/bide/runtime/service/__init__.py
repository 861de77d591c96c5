"""Every operation that an edge offers, in JSON terms: names and JSON values in, views out.

HTTP and the CLI translate to and from this class and hold no rule of their own. Payloads are JSON
values as `strict_loads` gives them. Ids are text; one that does not parse is an unknown one. A
tenant sees only its own rows: another tenant's look exactly like absent ones.
"""

from bide.runtime.service.executions import Executions
from bide.runtime.service.history import History
from bide.runtime.service.inbox import Interactions
from bide.runtime.service.lineage import Lineages
from bide.runtime.service.operating import Operating
from bide.runtime.service.redriving import Redriving
from bide.runtime.service.taking import Takings


class Service(Executions, Redriving, History, Lineages, Takings, Interactions, Operating):
    """The operations of one running app."""
