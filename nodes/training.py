"""A LoRA of one's own: a folder looked through, trained on, and the result among ComfyUI's LoRAs.

What does it is imported when a node runs: reading all of that would make every start of the host slower.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ..loom_core.data.tasks import AUTO as AUTO_TASK
from ..loom_core.data.tasks import TRAINING_TASKS
from ..loom_core.geometry import MAX_FRAMES
from .adapter.encoder.files import offered_encoders
from .adapter.files import offered
from .adapter.media.vae import FOLDER as VAE_FOLDER
from .adapter.model.loading import FOLDER as MODEL_FOLDER
from .adapter.model.loading import SUFFIXES
from .adapter.model.lora import offered_loras
from .adapter.progress import NodeProgress
from .adapter.training.words import AUTO, CUTS, IF_THERE, NO_LORA, NUMBER, RECIPES
from .sockets import Dataset, Lora, TrainingSet

CATEGORY = "LoomVideo/training"
LARGEST_SEED = 2**32 - 1
MOST_STEPS, LARGEST_RANK, MOST_PICTURES = 1_000_000, 1024, 64


class LoomVideoDatasetPrepare(io.ComfyNode):
    """A folder to a set that can be trained on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoDatasetPrepare",
            display_name="LoomVideo Prepare Dataset",
            category=CATEGORY,
            description="Looks through a folder of clips or pictures with captions, or of edits, as training would cut "
            "them: says what cannot be used and why, and shows some of the rest.",
            search_aliases=["training data", "dataset", "captions", "image folder", "load training set"],
            inputs=[
                io.String.Input(
                    "folder",
                    default="",
                    tooltip="A whole path, or one below ComfyUI's input folder. Files with captions of the same name "
                    "(one.mp4, one.txt); target/, source/ and reference/ with equal names; or a metadata.jsonl.",
                ),
                io.Combo.Input(
                    "task",
                    options=[AUTO_TASK, *TRAINING_TASKS],
                    default=AUTO_TASK,
                    tooltip="What is learned. auto takes what the folder's layout, or each row of a manifest, is for.",
                ),
                io.Combo.Input(
                    "resolution",
                    options=list(CUTS),
                    default=next(iter(CUTS)),
                    tooltip="Size that samples are cut to, in their own aspect ratio. 480p for the released model, "
                    "128x128 for the built-in one.",
                ),
                io.Int.Input(
                    "length",
                    default=33,
                    min=5,
                    max=MAX_FRAMES,
                    step=4,
                    tooltip="Longest clip in frames at 24 a second, cut to 4k + 1. Longer ones are cut at several "
                    "starts.",
                ),
                io.Float.Input(
                    "max_bad_share",
                    default=0.0,
                    min=0.0,
                    max=0.95,
                    step=0.01,
                    tooltip="Largest share of samples that may be left out. 0 refuses a folder with any.",
                ),
                io.Int.Input("pictures", default=6, min=1, max=MOST_PICTURES, tooltip="Samples that the grid shows."),
            ],
            outputs=[
                Dataset.Output("dataset", tooltip="For LoomVideo Train LoRA."),
                io.Image.Output("grid", tooltip="Some samples as the model gets them. For Preview Image."),
                io.String.Output("report", tooltip="What was found and what is left out."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, folder: str, **_: Any) -> str:
        """See `io.ComfyNode`: files of the folder may have changed."""
        from .adapter.training.dataset import fingerprint

        return fingerprint(folder)

    @classmethod
    def execute(
        cls, folder: str, task: str, resolution: str, *, length: int, max_bad_share: float, pictures: int
    ) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        from .adapter.training.dataset import prepare

        progress = NodeProgress()
        found = prepare(
            folder,
            task=task,
            resolution=resolution,
            length=length,
            max_bad_share=max_bad_share,
            pictures=pictures,
            progress=progress,
        )
        progress.text(found.report)
        return io.NodeOutput(found.dataset, found.grid, found.report)


class LoomVideoLoraTrain(io.ComfyNode):
    """A set to a LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoLoraTrain",
            display_name="LoomVideo Train LoRA",
            category=CATEGORY,
            description="Trains a LoRA on frozen weights and shows the loss curve and samples while it does. Cancel "
            "saves the step that was reached; queued again with the same settings, it goes on from there.",
            search_aliases=["train lora", "fine-tune", "finetune", "trainer", "dreambooth"],
            inputs=[*_training_inputs(), *_optional_inputs()],
            outputs=[
                Lora.Output(
                    "lora", tooltip="For LoomVideo Save LoRA, or ComfyUI's Load LoRA Model to try it in this graph."
                ),
                io.Image.Output("curve", tooltip="The loss curve, with the last samples below it. For Preview Image."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        dataset: TrainingSet,
        name: str,
        model_name: str,
        encoder_name: str,
        vae_name: str,
        *,
        recipe: str,
        steps: int,
        rank: int,
        learning_rate: float,
        sample_every: int,
        save_every: int,
        run_seed: int,
        held_out: TrainingSet | None = None,
        start_lora: str = NO_LORA,
    ) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        from .adapter.training.recipes import RunRequest, run_config
        from .adapter.training.running import train

        request = RunRequest(
            name=name,
            dataset=dataset,
            held_out=held_out,
            model_name=model_name,
            encoder_name=encoder_name,
            vae_name=vae_name,
            recipe=recipe,
            steps=steps,
            rank=rank,
            learning_rate=learning_rate,
            sample_every=sample_every,
            save_every=save_every,
            seed=run_seed,
            start_lora=start_lora,
        )
        progress = NodeProgress()
        run = train(run_config(request), progress=progress)
        progress.text(run.about)
        return io.NodeOutput(run.lora, run.picture)


def _training_inputs() -> list[io.Input]:
    """What is trained on what, and how long."""
    files = "Read anew for training, in full precision; models in memory give way."
    return [
        Dataset.Input("dataset", tooltip="From LoomVideo Prepare Dataset."),
        io.String.Input(
            "name",
            default="my_lora",
            tooltip="Of the run, whose folder is output/loomvideo_training/<name>. The same name goes on with it.",
        ),
        io.Combo.Input(
            "model_name", options=offered(MODEL_FOLDER, suffixes=SUFFIXES), tooltip=f"Whose LoRA it is. {files}"
        ),
        io.Combo.Input(
            "encoder_name",
            options=offered_encoders(),
            tooltip="Qwen3-VL of that model: for the released weights a Hugging Face folder or a bf16 file with its "
            "tokenizer beside it; quantised files are refused.",
        ),
        io.Combo.Input(
            "vae_name",
            options=offered(VAE_FOLDER),
            tooltip="Of that model. The Wan 2.2 VAE needs the Python package diffusers for training.",
        ),
        io.Combo.Input(
            "recipe",
            options=list(RECIPES),
            default=AUTO,
            tooltip="Bundled settings (configs/training). auto takes the one for this model and this card.",
        ),
        _number("steps", MOST_STEPS, "Optimiser steps in all. More than a finished run had goes on with it."),
        _number("rank", LARGEST_RANK, "Size of the LoRA; its alpha is the same."),
        io.Float.Input(
            "learning_rate",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.00001,
            tooltip="After the warm-up. 0 is the recipe's.",
        ),
        _number("sample_every", MOST_STEPS, "Steps between two measurements with samples; -1 makes none.", least=-1),
        _number("save_every", MOST_STEPS, "Steps between two checkpoints; the last and a cancelled one are kept."),
        io.Int.Input(
            # "seed" would be drawn anew at every queueing by the frontend, and no run would ever go on
            "run_seed",
            default=0,
            min=0,
            max=LARGEST_SEED,
            tooltip="Of all that is drawn: order, noise, starting values.",
        ),
    ]


def _optional_inputs() -> list[io.Input]:
    """What most graphs leave alone."""
    return [
        Dataset.Input(
            "held_out",
            optional=True,
            tooltip="Samples that are not trained on, for losses and pictures on the way. Without it those of dataset "
            "serve, which look better than new ones will.",
        ),
        io.Combo.Input(
            "start_lora",
            options=[NO_LORA, *offered_loras()],
            default=NO_LORA,
            optional=True,
            advanced=True,
            tooltip="A LoRA of the same model and rank that is trained further.",
        ),
    ]


def _number(name: str, most: int, about: str, *, least: int = 0) -> io.Input:
    return io.Int.Input(name, default=0, min=least, max=most, tooltip=f"{about} 0 is the recipe's.")


class LoomVideoLoraSave(io.ComfyNode):
    """A LoRA to a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoLoraSave",
            display_name="LoomVideo Save LoRA",
            category=CATEGORY,
            description="Writes a LoRA to models/loras, where every LoRA loader finds it: whole or not at all, with "
            "what it was trained on in its metadata.",
            search_aliases=["save lora", "export lora", "write lora"],
            inputs=[
                Lora.Input("lora", tooltip="From LoomVideo Train LoRA."),
                io.String.Input(
                    "filename", default="my_lora", tooltip="Of the file, without a folder; the ending may be left out."
                ),
                io.Combo.Input(
                    "if_there",
                    options=list(IF_THERE),
                    default=NUMBER,
                    tooltip="What to do where a file of that name is there.",
                ),
            ],
            outputs=[
                io.String.Output("lora_name", tooltip="The file's name, as LoRA loaders list it once you press R.")
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, lora: Mapping[str, Any], filename: str, if_there: str) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        from .adapter.training.saving import save_lora

        path = save_lora(lora, filename, if_there=if_there)
        NodeProgress().text(f"{path.name}: {len(lora)} tensors; press R, then choose it in a LoRA loader")
        return io.NodeOutput(path.name)
