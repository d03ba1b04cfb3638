"""The DiT as a model of the host: its layers, its files, LoRAs."""
