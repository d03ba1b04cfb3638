"""RL post-training: rollouts of the old policy, rewards, DiffusionNFT and Flow-GRPO."""
