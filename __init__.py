"""LoomVideo for ComfyUI. Imports nothing heavy: the host reads this file at every start."""

WEB_DIRECTORY = "./web"
"""Help pages of the nodes, and panels on them."""


async def comfy_entrypoint():  # noqa: ANN201 - the host's type, which is not imported here
    """What the host asks for the nodes."""
    from .nodes.extension import make_extension

    return make_extension()
