"""The ComfyUI nodes: thin V3 nodes over `loom_core`; whatever touches the host lies in `adapter/`."""
