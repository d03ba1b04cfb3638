"""A LoRA trained inside the host: its set, its settings, the run as a node shows it, the file."""
