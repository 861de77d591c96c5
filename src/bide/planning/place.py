"""Where in a pipeline something is being added, and what arrives there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bide.authoring.awaits import Await
from bide.authoring.branches import Arm, Branches, Keep
from bide.authoring.steps import name_of, options_of
from bide.errors import DefinitionError
from bide.planning.codec import Codec
from bide.planning.codec_of import Unfit, codec_of
from bide.planning.typeforms import type_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The end of a plan, as whatever is added next sees it."""

    #: The pipeline's name as its author wrote it, and its id.
    pipeline: str
    pipeline_id: str
    #: What is being added, as its id will read.
    name: str
    #: The ids of everything that has a position, in order.
    taken: tuple[str, ...]
    #: What stands before it; None at the head of the pipeline.
    before: str | None
    #: What arrives; of a stream, one item.
    arriving: Codec[Any]
    #: Whether it arrives as a stream.
    stream: bool
    #: The transactional step whose transaction is still open here; None where there is none.
    holder: str | None = None

    @property
    def position(self) -> int:
        """The position of what is being added, from 0."""
        return len(self.taken)

    @property
    def what(self) -> str:
        """Open a message: `pipeline 'orders', step 3 'approve'`, counted from 1."""
        return f"pipeline '{self.pipeline}', step {self.position + 1} '{self.name}'"

    @property
    def given(self) -> object:
        """The type that arrives."""
        return self.arriving.form

    @property
    def gives(self) -> str:
        """Say what comes from before: `'read' before it gives a stream of Row`."""
        return self._gives("a stream of " if self.stream else "")

    @property
    def gives_item(self) -> str:
        """Say of what type one item from before is, where it is taken item by item."""
        return self._gives("")

    def _gives(self, kind: str) -> str:
        if self.before is None:
            return f"the pipeline's input is {kind}{type_text(self.given)}"
        return f"'{self.before}' before it gives {kind}{type_text(self.given)}"

    def naming(self, added: Arm | Branches[Any, Any]) -> Place:
        """Give the same place for something else."""
        return replace(self, name=label(added))

    def behind(self, id: str) -> Place:
        """Give the place of the next arm of the same division."""
        return replace(self, taken=(*self.taken, id))

    def codec(self, form: object, verb: str) -> Codec[Any]:
        """Make the codec of a type that is written here; `verb` is how it comes in."""
        try:
            return codec_of(form)
        except Unfit as unfit:
            raise DefinitionError(
                f"{self.what} {verb} {type_text(form)}, which cannot be stored:\n  {unfit}."
            ) from unfit


def label(added: object) -> str:
    """Name something as its id will read, before it is known to have one."""
    if isinstance(added, Await):
        return added.id
    if isinstance(added, Keep):
        return f"keep({type_text(added.type)})"
    if isinstance(added, Branches):
        return "branch"
    if not callable(added):
        return type(added).__name__
    return options_of(added).id or name_of(added)
