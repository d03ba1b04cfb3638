"""Memory of the DiT: of one forward pass, of what a run prepares, and of the solver.

A forward pass takes the most in one of a few places of a block, whatever the sizes; each is a sum of tensors as large
as all tokens. With t the bytes of such a tensor in the dtype of the model, f in float32, h one as wide as the
feed-forward part, and u what a cast to float32 adds (nothing where t is float32 already):

    first modulation            tokens; cast, norm; or norm, result                                t + f + max(u, t)
    rotary turn of the keys     tokens, normed, queries, keys; cast, turned in place, result       4 t + u + r
    attention                   tokens, normed, queries, keys, values, mixed, result               7 t
    queries of the context      block's input, tokens, normed, queries; norm in float32            4 t + u + f + r
    second modulation           block's input, tokens; as the first                                2 t + f + max(u, t)
    feed-forward                block's input, tokens, normed, hidden, result                      4 t + h

r is the result where it is not float32 itself; a turn of float32 is not in place but takes f. A block's input stays
alive because whoever called the block holds it. On a GPU a norm of queries or keys is one kernel, which takes t.

Legend: B samples at once, L target tokens, R reference tokens, S context tokens, D width, e bytes of a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..config.model import DiTConfig
from ..geometry import PATCH
from ..types import Branch
from .moments import Moment, largest
from .run import RunSizes
from .sizes import MODULATION_ROWS, PROJECTOR_EXPANSION, WeightFormat

_FLOAT = 4
_TABLES = 2  # cosines and sines
SOLVER_LATENTS = 6
"""Float32 latents alive while the model works: noise, state, and of the step before its state, its clean prediction,
the one before that, and its velocity (UniPC and DPM-Solver++; Euler has three fewer)."""


@dataclass(frozen=True, kw_only=True)
class ForwardSizes:
    """One forward pass of the DiT.

    Args:
        config: Of the model.
        target: L.
        references: R.
        context: S.
        itemsize: e.
        batch: B.
        on_gpu: Whether kernels are those of a GPU.
        keeps_keys_values: Whether keys and values of the context were prepared; else a block makes them.
    """

    config: DiTConfig
    target: int
    references: int = 0
    context: int
    itemsize: int
    batch: int = 1
    on_gpu: bool = False
    keeps_keys_values: bool = True

    @property
    def tokens(self) -> int:
        """L + R."""
        return self.target + self.references

    def wide(self, tokens: int) -> int:
        """Bytes of a tensor [B, tokens, D]."""
        return self.batch * tokens * self.config.hidden_size * self.itemsize

    def floats(self, tokens: int) -> int:
        """The same in float32."""
        return self.batch * tokens * self.config.hidden_size * _FLOAT

    def cast(self, tokens: int) -> int:
        """What a cast to float32 adds."""
        return 0 if self.itemsize == _FLOAT else self.floats(tokens)

    def back(self, tokens: int) -> int:
        """What the cast back adds."""
        return 0 if self.itemsize == _FLOAT else self.wide(tokens)

    def norm(self, tokens: int) -> int:
        """An RMSNorm, beside what comes in."""
        return self.wide(tokens) if self.on_gpu else self.cast(tokens) + self.floats(tokens) + self.back(tokens)

    def turn(self, tokens: int) -> int:
        """A rotary turn, beside what comes in."""
        return (self.cast(tokens) or self.floats(tokens)) + self.back(tokens)

    def modulate(self) -> int:
        """A LayerNorm with shift and scale, beside what comes in."""
        return self.floats(self.tokens) + max(self.cast(self.tokens), self.wide(self.tokens))


def forward_bytes(sizes: ForwardSizes) -> tuple[str, int]:
    """Most bytes that a forward pass has made and not yet freed, and where in a block that is.

    Args:
        sizes: Of the pass. Weights, prepared conditions and the latents that come in are not counted.
    """
    config, tokens = sizes.config, sizes.tokens
    t = sizes.wide(tokens)
    hidden = t * config.ffn_dim // config.hidden_size
    scores = sizes.batch * tokens * config.num_heads * _FLOAT  # one log-sum-exp a head and token
    own = 0 if sizes.keeps_keys_values else 2 * sizes.wide(sizes.context)
    making = 0 if sizes.keeps_keys_values else sizes.wide(sizes.context) + sizes.norm(sizes.context)
    name, most = largest(
        [
            ("rotary turn", 4 * t + max(sizes.turn(tokens), sizes.norm(tokens))),
            ("self-attention", max(6 * t + scores, 7 * t)),
            ("keys and values of the context", 3 * t + making),
            ("queries of the context", 4 * t + own + sizes.norm(tokens)),
            ("cross-attention", own + max(5 * t + scores, 6 * t)),
            ("feed-forward modulation", 2 * t + sizes.modulate()),
            ("feed-forward", 4 * t + hidden),
        ]
    )
    # the time embedding, its rows, and their sum with a block's table
    rows = sizes.batch * config.hidden_size * ((2 * MODULATION_ROWS) * _FLOAT + sizes.itemsize)
    return name, most + rows + (0 if sizes.itemsize == _FLOAT else config.hidden_size * MODULATION_ROWS * _FLOAT)


def cache_bytes(config: DiTConfig, context: int, *, itemsize: int, keeps_keys_values: bool) -> int:
    """Of one branch: keys and values of all blocks, or projected contexts, half as large."""
    return config.num_layers * context * config.hidden_size * itemsize * (2 if keeps_keys_values else 1)


def condition_bytes(config: DiTConfig, *, target: int, references: int, itemsize: int) -> int:
    """Of one branch: tokens of source and references, and rotary tables."""
    tokens = config.hidden_size * itemsize * (target * config.has_source + references)
    return tokens + table_bytes(config, target=target, references=references)


def table_bytes(config: DiTConfig, *, target: int, references: int) -> int:
    """Rotary tables of a sample, those of the references twice, all tokens' as complex numbers, too."""
    return _TABLES * (config.head_dim // 2) * _FLOAT * (2 * (target + references) + references)


def step_bytes(sizes: ForwardSizes) -> int:
    """Most bytes of a step for which nothing but contexts was prepared: a forward pass and its conditions.

    Args:
        sizes: Of the pass. Latents of target, source and references are copied once, as a host does to pad them.
    """
    config = sizes.config
    tables = table_bytes(config, target=sizes.target, references=sizes.references)
    tokens = sizes.target * config.has_source + sizes.references
    latents = (sizes.target + tokens) * PATCH * PATCH * config.in_channels * sizes.itemsize * sizes.batch
    # without references all samples share a table
    return forward_bytes(sizes)[1] + sizes.wide(tokens) + latents + tables * (sizes.batch if sizes.references else 1)


def projecting_bytes(
    config: DiTConfig, context: int, *, itemsize: int, on_gpu: bool, keeps_keys_values: bool = True
) -> int:
    """Projecting one block's states: copies of the states, and the widened ones before and after the activation.

    The context of the block before is still at hand; where contexts are what is kept, the cache counts it.
    """
    copies = 2 if on_gpu else 1
    wide = 2 * PROJECTOR_EXPANSION + keeps_keys_values
    return context * itemsize * (copies * config.mllm_dim + wide * config.hidden_size)


@dataclass(frozen=True, kw_only=True)
class Denoising:
    """How the DiT runs.

    Args:
        config: Of the model.
        run: Sizes of the run.
        form: Number format of the weights.
        on_gpu: Whether the DiT is on a GPU.
        keeps_keys_values: Keep keys and values of the contexts over the run; False keeps projected contexts.
        in_lockstep: Each block works on all branches before the next block's turn, see `models/lockstep.py`.
    """

    config: DiTConfig
    run: RunSizes
    form: WeightFormat
    on_gpu: bool
    keeps_keys_values: bool = True
    in_lockstep: bool = False

    def forward(self, branch: Branch) -> ForwardSizes:
        """One branch's forward pass."""
        return ForwardSizes(
            config=self.config,
            target=self.run.target.tokens,
            references=self.run.references_of(branch),
            context=self.run.branches[branch],
            itemsize=self.form.itemsize,
            on_gpu=self.on_gpu,
            keeps_keys_values=self.keeps_keys_values,
        )

    def together(self) -> ForwardSizes:
        """All branches in one forward pass, padded to the longest."""
        forwards = [self.forward(branch) for branch in self.run.branches]
        longest = max(forwards, key=lambda sizes: (sizes.tokens, sizes.context))
        context = max(sizes.context for sizes in forwards)
        kept = {name: getattr(longest, name) for name in ("config", "target", "references", "itemsize", "on_gpu")}
        return ForwardSizes(**kept, context=context, batch=len(forwards), keeps_keys_values=self.keeps_keys_values)

    def moments(self, *, weights: int, held: int, held_while_preparing: int) -> Iterator[Moment]:
        """Those of the phase that can take the most.

        Args:
            weights: Bytes of the DiT's weights.
            held: Bytes that earlier phases left and that stay.
            held_while_preparing: Bytes that stay until all is prepared: states and latents of the conditions.
        """
        run, item = self.run, self.form.itemsize
        numbers = self.config.in_channels * run.target.frames * run.target.height * run.target.width
        caches, conditions = {}, {}
        for branch, context in run.branches.items():
            sizes = self.forward(branch)
            caches[branch] = cache_bytes(self.config, context, itemsize=item, keeps_keys_values=self.keeps_keys_values)
            conditions[branch] = condition_bytes(
                self.config, target=sizes.target, references=sizes.references, itemsize=item
            )
        cached, kept = 0, 0
        for branch, context in run.branches.items():
            cached += caches[branch]
            yield Moment(
                name=f"preparing the {branch.value} branch",
                weights=weights,
                held=held + held_while_preparing,
                cache=cached - caches[branch] // self.config.num_layers,  # while the last block's states are projected
                conditions=kept,
                latents=numbers * item,
                activations=projecting_bytes(
                    self.config,
                    context,
                    itemsize=item,
                    on_gpu=self.on_gpu,
                    keeps_keys_values=self.keeps_keys_values,
                ),
            )
            kept += conditions[branch]
        predictions = 0 if self.in_lockstep else (len(run.branches) - 1) * item
        predictions += item if item != _FLOAT else 0
        for branch in run.branches:
            name, most = forward_bytes(self.forward(branch))
            yield Moment(
                name=f"{name}, {branch.value} branch",
                weights=weights,
                held=held,
                cache=sum(caches.values()),
                conditions=sum(conditions.values()),
                latents=numbers * (SOLVER_LATENTS * _FLOAT + predictions),
                activations=most
                + self.form.widening(self.config.hidden_size, self.config.ffn_dim)
                + self._waiting(branch),
            )

    def _waiting(self, working: Branch) -> int:
        """Tokens and time embeddings of the branches that wait for a block's work on one, in lockstep."""
        if not self.in_lockstep:
            return 0
        time = self.config.hidden_size * (MODULATION_ROWS * _FLOAT + self.form.itemsize)
        waiting = [self.forward(branch) for branch in self.run.branches if branch is not working]
        return sum(sizes.wide(sizes.tokens) + time for sizes in waiting)
