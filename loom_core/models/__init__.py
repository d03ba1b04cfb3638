"""The DiT: Wan-native parameter names, injected operations, conditions prepared once a run."""
