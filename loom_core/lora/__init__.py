"""LoRA: small trained changes of a frozen model, in memory and in files of every common trainer."""
