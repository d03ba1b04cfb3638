"""A node pack for the tests alone: nodes that fail as a machine short of memory would, and slow ones to interrupt."""

import time

import torch


class FailingModel:
    """A MODEL that runs out of memory in its first forward passes."""

    CATEGORY = "tests"
    FUNCTION = "patch"
    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "failures": ("INT",), "run": ("INT",)}}

    def patch(self, model, failures, run):
        patched, left = model.clone(), [failures]

        def wrapper(apply, args):
            if left[0]:
                left[0] -= 1
                raise torch.OutOfMemoryError("CUDA out of memory. (as if)")
            return apply(args["input"], args["timestep"], **args["c"])

        patched.set_model_unet_function_wrapper(wrapper)
        return (patched,)


class FailingCLIP:
    """A CLIP whose model runs out of memory in its first passes."""

    CATEGORY = "tests"
    FUNCTION = "patch"
    RETURN_TYPES = ("CLIP",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"clip": ("CLIP",), "failures": ("INT",), "run": ("INT",)}}

    def patch(self, clip, failures, run):
        clip, left = clip.clone(), [failures]
        name = next(name for name, _ in clip.cond_stage_model.named_modules() if name.endswith("model.layers.0"))
        layer = clip.cond_stage_model.get_submodule(name)

        def forward(*args, **kwargs):
            if left[0]:
                left[0] -= 1
                raise torch.OutOfMemoryError("CUDA out of memory. (as if)")
            return layer.forward(*args, **kwargs)

        class Failing(torch.nn.Module):
            """Calls the layer without owning its weights under another name."""

        failing = Failing()
        failing.forward = forward
        clip.patcher.add_object_patch(name, failing)
        return (clip,)


class FailingVAE:
    """A VAE that runs out of memory in its first encodes and decodes; `forever` also in tiles."""

    CATEGORY = "tests"
    FUNCTION = "patch"
    RETURN_TYPES = ("VAE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"vae": ("VAE",), "failures": ("INT",), "run": ("INT",)}}

    def patch(self, vae, failures, run):
        import copy

        patched, left = copy.copy(vae), [failures]
        patched.first_stage_model = copy.copy(vae.first_stage_model)

        def failing(function):
            def call(*args, **kwargs):
                if left[0]:
                    left[0] -= 1
                    raise torch.OutOfMemoryError("CUDA out of memory. (as if)")
                return function(*args, **kwargs)

            return call

        for name in ("encode", "decode"):
            setattr(patched.first_stage_model, name, failing(getattr(vae.first_stage_model, name)))
        return (patched,)


class SlowModel:
    """A MODEL whose forward passes take their time, so that they can be interrupted."""

    CATEGORY = "tests"
    FUNCTION = "patch"
    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "seconds": ("FLOAT",)}}

    def patch(self, model, seconds):
        patched = model.clone()

        def wrapper(apply, args):
            time.sleep(seconds)
            return apply(args["input"], args["timestep"], **args["c"])

        patched.set_model_unet_function_wrapper(wrapper)
        return (patched,)


class BrokenImages:
    """Pictures of a kind that no loader makes: `kind` is nan, grey, alpha, empty or tiny."""

    CATEGORY = "tests"
    FUNCTION = "make"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"kind": ("STRING",)}}

    def make(self, kind):
        shape = {"empty": (0, 64, 64, 3), "grey": (1, 64, 64, 1), "alpha": (1, 64, 64, 4), "tiny": (1, 1, 1, 3)}
        images = torch.full(shape.get(kind, (1, 64, 64, 3)), float("nan") if kind == "nan" else 0.5)
        return (images,)


class FrozenLatent:
    """A latent of any shape, filled with ten times one number: 1e38 makes infinity, which JSON cannot carry."""

    CATEGORY = "tests"
    FUNCTION = "make"
    RETURN_TYPES = ("LATENT",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"shape": ("STRING",), "value": ("FLOAT",)}}

    def make(self, shape, value):
        return ({"samples": torch.full([int(side) for side in shape.split(",")], value) * 10},)


NODE_CLASS_MAPPINGS = {
    "TestFailingModel": FailingModel,
    "TestFailingCLIP": FailingCLIP,
    "TestFailingVAE": FailingVAE,
    "TestSlowModel": SlowModel,
    "TestBrokenImages": BrokenImages,
    "TestLatent": FrozenLatent,
}
