"""Sequential: a causal transformer that foresees a shopper's next item from the order and the times of their last ones.

In the line of eSASRec (see `models/neural/sequence_network.py`). What is kept of it after training is the network
itself, so that a session's newest events make a new state without a refit, and the vector of every item and shopper, so
that everything else is one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from pydantic import Field, model_validator

from configs.errors import FacingsError
from models import torch_training as training
from models.artifact import Arrays
from models.base import Capabilities, Events, Recommender, RecommenderConfig
from models.content.vocabulary import Vocabulary
from models.dataset import Dataset, FloatArray, IntArray
from models.neural.sequence_network import SequenceNetwork, sampled_softmax, visible_places
from models.neural.sequences import GAPS, PackedRows, Sequences, gap_buckets, newest, pack, sequences_of
from models.purchases.history import bought_by
from models.reasons import Reason

Float32Array = npt.NDArray[np.float32]
# Products are always of this many rows: then a shopper's scores do not depend on whom else a call asks for.
_ROWS = 64


class SequentialConfig(RecommenderConfig):
    """The network's size and how it is trained."""

    width: int = Field(64, ge=1, le=1024, description="length of an embedding")
    blocks: int = Field(1, ge=1, le=16)
    heads: int = Field(1, ge=1)
    hidden: float = Field(2.0, gt=0, description="width of a feed-forward part, in embeddings")
    dropout: float = Field(0.2, ge=0, lt=1)
    item_dropout: float = Field(0.0, ge=0, lt=1, description="share of items that are blotted out while reading")
    length: int = Field(50, ge=1, le=1000, description="so many last events are read")
    temperature: float | None = Field(None, gt=0, description="score by cosine / temperature; none: by product")
    negatives: int = Field(512, ge=0, description="items drawn for a batch's softmax; 0: all items")
    negative_power: float = Field(0.0, ge=0, le=1, description="draw in proportion to sales ** power; 0: all alike")
    log_q: bool = Field(True, description="correct the sampled softmax for how often a negative is drawn")
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    epochs: int = Field(60, ge=1)
    batch_rows: int = Field(64, ge=1, description="rows of `length` places, each of several sequences, in a batch")
    train_events: int | None = Field(None, ge=2, description="learn from so many last events of a shopper; none: all")
    runs: int = Field(1, ge=1, description="train so many times, each from another start, and take the mean score")
    minimum_interactions: int = Field(1, ge=1, description="sales an item needs for an embedding of its own")
    minimum_feature: int = Field(1, ge=1, description="items a content value needs to become a feature")
    buckets: int = Field(8, ge=1, description="quantile buckets of a number column")
    repeats: bool = Field(True, description="recommend what the shopper bought before, too")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads must divide width; {self.heads} does not divide {self.width}")
        return self


class Sequential(Recommender):
    """Foresees the next item. One that nobody bought is scored by its content; unknown shoppers get best-sellers."""

    Config: ClassVar[type[RecommenderConfig]] = SequentialConfig
    capabilities: ClassVar[Capabilities] = Capabilities(cold_shoppers=True, cold_items=True, fold_in=True, repeats=True)

    def __init__(self, config: SequentialConfig) -> None:
        super().__init__(config)
        self.config: SequentialConfig = config
        self.training_loss = float("nan")  # mean over the last epoch's places and the runs, in nats
        self._networks: list[SequenceNetwork] = []
        self._features: IntArray = np.zeros((0, 0), np.int64)  # content features of each item, padded with their number
        self._n_features = 0
        self._popularity: FloatArray = np.zeros(0)  # interactions of each item
        self._recent: IntArray = np.zeros((0, 0), np.int64)
        self._recent_age: FloatArray = np.zeros((0, 0))  # days
        self._item_vectors: Float32Array = np.zeros((0, 0), np.float32)  # the runs side by side
        self._shopper_vectors: Float32Array = np.zeros((0, 0), np.float32)

    # ------------------------------------------------------------------ training

    def _fit(self, dataset: Dataset, seed: int) -> None:
        sequences = sequences_of(dataset)
        if sequences.lengths.max(initial=0) < 2:
            raise FacingsError(
                "No shopper has two interactions with items that may be recommended: there is no sequence to learn."
            )
        self._popularity = np.bincount(sequences.items, minlength=len(dataset.items)).astype(np.float64)
        self._set_features(dataset)
        seeds = [seed, *(int(s) for s in np.random.SeedSequence(seed).generate_state(self.config.runs - 1))]
        group, device = training.training_group(), training.choose_device()
        self._networks, losses = [], []
        for start in seeds:
            with training.seeded(start), training.threads_for(self._multiplications(sequences)):
                network, loss = self._train(sequences, start, group, device)
            self._networks.append(network)
            losses.append(loss)
        self.training_loss = float(np.mean(losses))
        self._recent, self._recent_age = newest(sequences, self.config.length)
        self._set_vectors(device)

    def _multiplications(self, sequences: Sequences) -> float:
        """Of the forward pass of one batch, about."""
        places = min(len(sequences.items), self.config.batch_rows * self.config.length)
        return float(places) * self.config.width * (12 * self.config.width * self.config.blocks + self.config.negatives)

    def _set_features(self, dataset: Dataset) -> None:
        sold = self._popularity > 0
        content = Vocabulary.learn(
            dataset.items[sold],
            dataset.item_content,
            minimum=self.config.minimum_feature,
            buckets=self.config.buckets,
        )
        encoded = content.encode(dataset.items)
        counts = np.diff(encoded.indptr)
        self._n_features = content.width
        self._features = np.full((len(dataset.items), counts.max(initial=0)), content.width, dtype=np.int64)
        rows = np.repeat(np.arange(len(counts)), counts)
        self._features[rows, np.arange(len(rows)) - np.repeat(encoded.indptr[:-1], counts)] = encoded.indices

    def _network(self) -> SequenceNetwork:
        config = self.config
        return SequenceNetwork(
            torch.from_numpy(np.array(self._features)),
            self._n_features,
            own=torch.from_numpy(self._popularity >= config.minimum_interactions),
            width=config.width,
            blocks=config.blocks,
            heads=config.heads,
            hidden=int(config.hidden * config.width),
            dropout=config.dropout,
            item_dropout=config.item_dropout,
            length=config.length,
            gaps=GAPS,
            temperature=config.temperature,
        )

    def _train(
        self, sequences: Sequences, seed: int, group: training.Group, device: torch.device
    ) -> tuple[SequenceNetwork, float]:
        """One network, and the last epoch's mean loss."""
        config = self.config
        rows = _on(device, pack(sequences, config.length, events=config.train_events, rng=np.random.default_rng(seed)))
        network = self._network().to(device).train()
        optimiser = torch.optim.AdamW(
            network.parameters(), config.learning_rate, (0.9, 0.98), weight_decay=config.weight_decay, fused=True
        )
        draws = torch.Generator().manual_seed(seed)  # of batches and negatives: the same in every process
        negatives = _Negatives(self._popularity, config, draws, device)
        steps = -(-rows.shape[1] // config.batch_rows)
        products = training.bfloat16_products(device)
        mean = float("nan")
        for epoch in range(config.epochs):
            total, places = torch.zeros((), device=device), 0
            for step, batch in enumerate(training.batches(rows.shape[1], config.batch_rows, draws)):
                rate = _rate(epoch + step / steps, config.epochs) * config.learning_rate
                for part in optimiser.param_groups:
                    part["lr"] = rate
                count = int((rows[1, batch.to(device)] >= 0).sum())
                with torch.autocast(device.type, torch.bfloat16, enabled=products):
                    loss = _loss(network, rows[:, group.share(batch).to(device)], negatives)
                optimiser.zero_grad(set_to_none=True)
                torch.autograd.backward(loss / max(1, count))
                group.sum_gradients(network.parameters())
                optimiser.step()
                total, places = total + loss.detach(), places + count
            mean = float(group.sum(total)) / max(1, places)
        if not np.isfinite(mean):
            raise FacingsError("The transformer could not be trained: its loss is not a number; lower learning_rate.")
        return network.eval().requires_grad_(False), mean

    @torch.inference_mode()
    def _set_vectors(self, device: torch.device) -> None:
        """Vectors of all items and of all shoppers who bought something, from each network."""
        items, shoppers = [], []
        for network in self._networks:
            everything = torch.arange(len(self._popularity), device=device)
            items.append(torch.cat([network.targets(part) for part in torch.split(everything, 65_536)]))
            states = torch.zeros((len(self._recent), self.config.width), device=device)
            for part in np.array_split(np.arange(len(states)), len(states) // 512 + 1):
                states[part] = _states(network, self._recent[part], self._recent_age[part], device)
            shoppers.append(states)
            network.cpu()
        self._item_vectors = (torch.cat(items, dim=1) / len(items)).cpu().numpy()
        self._shopper_vectors = torch.cat(shoppers, dim=1).cpu().numpy()

    # ------------------------------------------------------------------ scoring

    def _score(self, shopper_rows: IntArray) -> FloatArray:
        scores = self._product(self._shopper_vectors[shopper_rows], _ROWS)
        scores[self._recent[shopper_rows, 0] < 0] = self._popularity
        if not self.config.repeats:
            scores[self.history[shopper_rows].nonzero()] = -np.inf
        return scores

    @torch.inference_mode()
    def _score_fold_in(self, shopper_rows: IntArray, events: Sequence[Events], attributes: pd.DataFrame) -> FloatArray:
        """Read each shopper's known events, then the new ones, as if these had begun at the moment of training."""
        del attributes
        scores = np.empty((len(shopper_rows), len(self.item_ids)))
        for line, (row, own) in enumerate(zip(shopper_rows.tolist(), events, strict=True)):
            known = int((self._recent[row] >= 0).sum()) if row >= 0 else 0
            items = np.concatenate([self._recent[row, :known], own.items])[-self.config.length :]
            gaps = np.concatenate([_gaps(self._recent_age[row, :known]), _gaps(own.age_days)])[-self.config.length :]
            arguments = torch.from_numpy(items[None]), torch.arange(len(items))[None], torch.from_numpy(gaps[None])
            vector = torch.cat([network(*arguments)[0, -1] for network in self._networks]).float().numpy()
            scores[line] = self._product(vector[None], 1)
            if not self.config.repeats:
                scores[line, np.concatenate([bought_by(self.history, int(row)), own.items[own.bought]])] = -np.inf
        return scores

    def _score_cold(self, attributes: pd.DataFrame) -> FloatArray:
        return np.tile(self._popularity, (len(attributes), 1))

    def _product(self, vectors: Float32Array, rows: int) -> FloatArray:
        """Scores of all items, computed `rows` at a time; float64, shape (len(vectors), items)."""
        scores = np.empty((len(vectors), len(self._item_vectors)))
        block = np.zeros((rows, self._item_vectors.shape[1]), np.float32)
        for start in range(0, len(vectors), rows):
            part = vectors[start : start + rows]
            block[: len(part)] = part
            scores[start : start + rows] = (block @ self._item_vectors.T)[: len(part)]
        return scores

    def _reasons(self, shopper_rows: IntArray, columns: IntArray) -> npt.NDArray[np.object_]:
        reasons = super()._reasons(shopper_rows, columns)
        reasons[self._recent[shopper_rows, 0] < 0] = str(Reason.POPULAR)
        return reasons

    # ------------------------------------------------------------------ keeping

    def _keep_shoppers(self, rows: IntArray) -> None:
        # The networks and item vectors are learned over everybody and name nobody; they stay until a refit.
        self._recent, self._recent_age = self._recent[rows], self._recent_age[rows]
        self._shopper_vectors = self._shopper_vectors[rows]

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        arrays: Arrays = {
            "features": self._features,
            "popularity": self._popularity,
            "recent": self._recent,
            "recent_age": self._recent_age,
            "item_vectors": self._item_vectors,
            "shopper_vectors": self._shopper_vectors,
        }
        for run, network in enumerate(self._networks):
            weights = training.weights_as_arrays(network)
            arrays |= {f"run{run}.{name}": array for name, array in weights.items()}
        return {"n_features": self._n_features}, arrays

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        self._n_features = state["n_features"]
        self._features, self._popularity = arrays["features"], np.asarray(arrays["popularity"])
        self._recent, self._recent_age = arrays["recent"], arrays["recent_age"]
        self._item_vectors, self._shopper_vectors = arrays["item_vectors"], arrays["shopper_vectors"]
        self._networks = []
        for run in range(self.config.runs):
            prefix = f"run{run}."
            own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            network = self._network()
            training.set_weights(network, own)
            self._networks.append(network.eval().requires_grad_(False))


class _Negatives:
    """Draws the items that a whole batch shares as negatives."""

    def __init__(
        self, popularity: FloatArray, config: SequentialConfig, generator: torch.Generator, device: torch.device
    ) -> None:
        self._sold = torch.from_numpy(np.flatnonzero(popularity > 0))
        share = torch.from_numpy(popularity[popularity > 0] ** config.negative_power)
        share = share / share.sum()
        self._cumulated = share.cumsum(0)
        self._correction = -torch.log(share * config.negatives) if config.log_q else torch.zeros(len(share))
        self._size, self._generator, self._device = config.negatives, generator, device

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Items and the correction of their logits, both (negatives,); with `negatives` 0 all items, uncorrected."""
        if not self._size:
            return self._sold.to(self._device), torch.zeros(len(self._sold), device=self._device)
        chance = torch.rand(self._size, generator=self._generator, dtype=torch.float64)
        drawn = torch.searchsorted(self._cumulated, chance).clamp(max=len(self._sold) - 1)
        return self._sold[drawn].to(self._device), self._correction[drawn].float().to(self._device)


def _loss(network: SequenceNetwork, rows: torch.Tensor, negatives: _Negatives) -> torch.Tensor:
    """Summed loss of a batch; `rows` as `_on` lays them out, shape (5, batch, length)."""
    items, targets, segments, positions, gaps = rows
    drawn, correction = negatives.draw()
    states = network(items, positions, gaps, visible_places(segments))[targets >= 0]
    return sampled_softmax(states, network.targets, targets[targets >= 0], drawn, correction)


def _on(device: torch.device, rows: PackedRows) -> torch.Tensor:
    """Items, targets, segments, positions, gaps on the device; shape (5, rows, length)."""
    parts = (rows.items, rows.targets, rows.segments, rows.positions, rows.gaps)
    return torch.from_numpy(np.stack(parts)).to(device)


def _rate(epoch: float, epochs: int) -> float:
    """Share of the learning rate: it rises for two epochs at most and falls in a straight line to nothing."""
    return min(1.0, (epoch + 0.05) / min(2.0, epochs / 4)) * (1 - epoch / epochs)


def _gaps(age_days: FloatArray) -> IntArray:
    """Bucket of the time from each event to the next, and from the last to the moment of asking."""
    return gap_buckets(-np.diff(age_days, append=0.0))


def _states(network: SequenceNetwork, recent: IntArray, ages: FloatArray, device: torch.device) -> torch.Tensor:
    """State after the last event of each row; zeros where there is none; shape (rows, width)."""
    lengths = (recent >= 0).sum(axis=1)
    gaps = gap_buckets(-np.diff(ages, axis=1, append=0.0))
    positions = np.broadcast_to(np.arange(recent.shape[1]), recent.shape).copy()
    arguments = (torch.from_numpy(array).to(device) for array in (np.maximum(recent, 0), positions, gaps))
    states: torch.Tensor = network(*arguments)
    last = states[torch.arange(len(recent)), torch.from_numpy(np.maximum(lengths - 1, 0)).to(device)].float()
    return last * torch.from_numpy(lengths > 0).to(device).unsqueeze(1)
