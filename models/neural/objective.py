"""The training objective of a network: its loss, and a term that draws attention to marked evidence."""

from torch import Tensor, nn

from rubricator.models.neural.losses import Loss
from rubricator.models.neural.network import Network


class Objective(nn.Module):
    """A network with its training objective."""

    def __init__(self, network: Network, loss: Loss, evidence_weight: float) -> None:
        super().__init__()
        self.network, self.loss, self.evidence_weight = network, loss, evidence_weight

    def forward(
        self,
        input_ids: Tensor,
        mask: Tensor,
        rows: Tensor,
        labels: Tensor,
        marked: Tensor | None = None,
        marked_tokens: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Loss and logits of a batch; input_ids, mask, rows: see Network.

        labels: 0/1 targets (texts, labels). marked: (pairs, 2), text and label. marked_tokens: bool (pairs, tokens),
        the evidence of each pair.
        """
        hidden = self.network.encode(self.network.embed(input_ids), mask)
        logits = self.network.classify(hidden, mask, rows)
        loss = self.loss(logits, labels)
        if marked is not None and marked_tokens is not None and len(marked):
            strings = rows[marked[:, 0], 0]
            attention = self.network.attention(hidden[strings], mask[strings], marked[:, 1])
            if attention is not None:  # add -log of the attention on the evidence
                on_evidence = (attention * marked_tokens).sum(dim=1)
                loss = loss - self.evidence_weight * on_evidence.clamp(min=1e-6).log().mean()
        return {"loss": loss, "logits": logits}
