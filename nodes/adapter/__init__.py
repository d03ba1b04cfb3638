"""Where `loom_core` meets ComfyUI: the only folder that imports the host's modules."""
