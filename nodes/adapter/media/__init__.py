"""Pictures, clips and latents between the host's sockets and ours."""
