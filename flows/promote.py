"""Promote a challenger to champion, if it is not worse on the examples that are out-of-fold for both models."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from rubricator.flows.home import open_home
from rubricator.flows.parameters.options import Home, Name
from rubricator.nlp.errors import RubricatorError


@dataclass(frozen=True, slots=True)
class Promotion:
    """Whether a version may be champion, and why. champion: the version that it was compared with, if any."""

    name: str
    version: str
    accepted: bool
    reason: str
    champion: str | None
    decided_at: str

    def to_json(self) -> dict[str, Any]:
        """The decision, as JSON types."""
        return asdict(self)

    def __rich__(self) -> str:
        return f"{self.name} version {self.version} is the champion now: {self.reason}"


class PromotionRefusedError(RubricatorError):
    """The version is not promoted; says why. promotion: the decision, None if it is the champion already."""

    def __init__(self, message: str, promotion: Promotion | None = None) -> None:
        super().__init__(message)
        self.promotion = promotion


def promote(
    name: Annotated[Name, Field(description="Registry name.")],
    *,
    version: Annotated[int, Field(ge=1, description="The version to promote.")],
    home: Home = None,
    margin: Annotated[float, Field(ge=0, description="The loss of micro-F1 that is still accepted.")] = 0.01,
) -> Promotion:
    """Make a version the champion of its name, if the gate accepts it (`flows.gate.judge`).

    The former champion gets the alias previous-champion. The decision is kept in the tag rubricator.promotion of the
    version, also when it is a refusal. Raises PromotionRefusedError with the reason, and RegistryError.
    """
    open_home(home).init_mlflow()
    from rubricator.flows.gate import judge
    from rubricator.models.registry import registry

    challenger = registry.resolve(f"{name}/{version}")
    champion = registry.champion_of(name)
    if champion and champion.version == challenger.version:
        raise PromotionRefusedError(f"{name} version {version} is the champion already")
    verdict = judge(
        registry.out_of_fold_of(challenger),
        registry.out_of_fold_of(champion) if champion else None,
        margin=margin,
    )
    decision = Promotion(
        name=name,
        version=challenger.version,
        accepted=verdict.accepted,
        reason=verdict.reason,
        champion=champion.version if champion else None,
        decided_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    registry.set_tags(challenger, {"rubricator.promotion": json.dumps(asdict(decision))})
    if not decision.accepted:
        raise PromotionRefusedError(f"{name} version {version} is not promoted: {decision.reason}", decision)
    if champion:
        registry.set_alias(name, registry.PREVIOUS, champion.version)
    registry.set_alias(name, registry.CHAMPION, challenger.version)
    return decision
