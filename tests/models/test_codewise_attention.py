"""Code-wise attention against the paper's formula, in one block and in many."""

import pytest
import torch

from rubricator.models.neural import codewise_attention
from rubricator.models.neural.codewise_attention import CodewiseAttention

BATCH, TOKENS, DIM, CODES = 3, 7, 5, 11


@pytest.fixture
def module() -> CodewiseAttention:
    torch.manual_seed(0)
    made = CodewiseAttention(DIM, CODES, projection=4, described=True)
    with torch.no_grad():
        made.bias.normal_()
    encodings = torch.randn(CODES, DIM)
    encodings[3] = 0  # a code without description
    made.describe(encodings)
    return made


@pytest.fixture
def hidden() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(BATCH, TOKENS, DIM, requires_grad=True)


MASK = torch.arange(TOKENS) < torch.tensor([[7], [4], [1]])


def test_it_is_the_formula_of_the_paper(module: CodewiseAttention, hidden: torch.Tensor) -> None:
    found = module(hidden, MASK)
    for text in range(BATCH):
        H = hidden[text][MASK[text]]
        A = ((H @ module.w1.weight.T).tanh() @ module.w2.T).softmax(dim=0).T
        vectors = A @ H  # (codes, dim)
        for code in range(CODES):
            match = torch.cosine_similarity(vectors[code], module.descriptions[code], dim=0)
            expected = vectors[code] @ module.scorers[code] + module.bias[code] + module.factor * match
            assert found[text, code].item() == pytest.approx(expected.item(), abs=1e-5)
            attention = module.attention(
                hidden[text : text + 1], MASK[text : text + 1], torch.tensor([code])
            )[0]
            torch.testing.assert_close(attention[MASK[text]], A[code])
            assert (attention[~MASK[text]] == 0).all()


@pytest.mark.parametrize("entries", [1, 50, 200])
def test_blocks_change_neither_logits_nor_gradients(
    module: CodewiseAttention, hidden: torch.Tensor, monkeypatch: pytest.MonkeyPatch, entries: int
) -> None:
    parameters = [hidden, *module.parameters()]
    whole = module(hidden, MASK)
    gradients = torch.autograd.grad(whole.square().sum(), parameters)
    monkeypatch.setattr(codewise_attention, "_BLOCK_ENTRIES", entries)
    blocked = module(hidden, MASK)
    torch.testing.assert_close(blocked, whole)
    torch.testing.assert_close(torch.autograd.grad(blocked.square().sum(), parameters), gradients)
    with torch.no_grad():
        torch.testing.assert_close(module(hidden, MASK), whole)


def test_padding_has_no_say(module: CodewiseAttention, hidden: torch.Tensor) -> None:
    other = torch.where(MASK[..., None], hidden, torch.full_like(hidden, 1e4))
    torch.testing.assert_close(module(other, MASK), module(hidden, MASK))


def test_a_described_code_finds_its_words_before_any_training(module: CodewiseAttention) -> None:
    with torch.no_grad():
        module.bias.zero_()
        module.scorers.zero_()
        text = torch.randn(1, TOKENS, DIM)
        text[0, 2] = 3 * module.descriptions[5]
        logits = module(text, torch.ones(1, TOKENS, dtype=torch.bool))
    assert logits[0, 5] > 0
    assert logits[0, 3] == 0, "a code without description gets nothing"


def test_a_module_without_descriptions_says_so() -> None:
    with pytest.raises(ValueError, match="described=True"):
        CodewiseAttention(DIM, CODES).describe(torch.zeros(CODES, DIM))
