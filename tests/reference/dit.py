"""The DiT once more: slow, in float64 numpy, token by token where that is clearest, from the published formulas.

It shares no code with `loom_core.models`; both agreeing means that the formulas were read right twice.
"""

from __future__ import annotations

import math

import numpy as np


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def layer_norm(x, eps):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)


def rms_norm(x, weight, eps):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * weight


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def silu(x):
    return x / (1 + np.exp(-x))


def patches(latents, weights, name):
    """Tokens of [C, F, H, W] by an explicit loop over 2 x 2 patches."""
    _, frames, height, width = latents.shape
    kernel = weights[f"{name}.weight"][:, :, 0]
    tokens = []
    for f in range(frames):
        for y in range(0, height, 2):
            for x in range(0, width, 2):
                patch = latents[:, f, y : y + 2, x : x + 2]
                tokens.append(np.einsum("dchw,chw->d", kernel, patch) + weights[f"{name}.bias"])
    return np.stack(tokens)


def positions(frames, height, width, temporal_index=None):
    return [
        (f if temporal_index is None else temporal_index, y, x)
        for f in range(frames)
        for y in range(height // 2)
        for x in range(width // 2)
    ]


def rotate(x, position, head_dim):
    """Turn each pair of channels of one head [head_dim] by its angle."""
    spatial = 2 * (head_dim // 6)
    out, start = x.copy(), 0
    for place, width in zip(position, (head_dim - 2 * spatial, spatial, spatial), strict=True):
        for pair in range(width // 2):
            angle = place / 10000.0 ** (2 * pair / width)
            a, b = x[start + 2 * pair], x[start + 2 * pair + 1]
            out[start + 2 * pair] = a * math.cos(angle) - b * math.sin(angle)
            out[start + 2 * pair + 1] = a * math.sin(angle) + b * math.cos(angle)
        start += width
    return out


def attention(q, k, v, heads, places=None):
    head_dim = q.shape[1] // heads
    out = np.zeros_like(q)
    for h in range(heads):
        part = slice(h * head_dim, (h + 1) * head_dim)
        qh, kh, vh = q[:, part], k[:, part], v[:, part]
        if places is not None:
            qh = np.stack([rotate(row, place, head_dim) for row, place in zip(qh, places, strict=True)])
            kh = np.stack([rotate(row, place, head_dim) for row, place in zip(kh, places, strict=True)])
        scores = qh @ kh.T / math.sqrt(head_dim)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        out[:, part] = scores / scores.sum(-1, keepdims=True) @ vh
    return out


def attend(weights, name, x, context, heads, eps, places=None):
    q = rms_norm(linear(x, weights, f"{name}.q"), weights[f"{name}.norm_q.weight"], eps)
    k = rms_norm(linear(context, weights, f"{name}.k"), weights[f"{name}.norm_k.weight"], eps)
    return linear(attention(q, k, linear(context, weights, f"{name}.v"), heads, places), weights, f"{name}.o")


def forward(state_dict, config, latents, timestep, condition):
    """Velocity [C, F, H, W] of one sample."""
    weights = {name: tensor.double().numpy() for name, tensor in state_dict.items()}
    eps, latents = config.eps, latents.astype(np.float64)
    _, frames, height, width = latents.shape

    tokens = patches(latents, weights, "patch_embedding")
    num_target, places = len(tokens), positions(frames, height, width)
    if condition.source_latents is None:
        source, strength = np.zeros_like(latents), 1.0
    else:
        source, strength = condition.source_latents.double().numpy(), condition.source_strength
    tokens = tokens + timestep / 1000 * strength * patches(source, weights, "source_patch_embedding")
    for index, reference in enumerate(condition.references):
        values = reference.latents.double().numpy()
        tokens = np.concatenate([tokens, patches(values, weights, "patch_embedding")])
        places += positions(*values.shape[1:], temporal_index=-10 * (index + 1))

    half = config.time_embed_dim // 2
    angles = np.array([timestep * 10000.0 ** (-i / half) for i in range(half)])
    sinusoid = np.concatenate([np.cos(angles), np.sin(angles)])
    time = linear(silu(linear(sinusoid, weights, "time_embedding.0")), weights, "time_embedding.2")
    rows = linear(silu(time), weights, "time_projection.1").reshape(6, -1)

    for index in range(config.num_layers):
        name = f"blocks.{index}"
        states = condition.mllm_hidden_states[index].double().numpy()
        hidden = rms_norm(states, weights["mllm_embedder.norm.weight"], 1e-6)
        context = linear(
            gelu_tanh(linear(hidden, weights, "mllm_embedder.linear_1")), weights, "mllm_embedder.linear_2"
        )
        # one row a token here, the slow way: the timestep's for targets, none for references
        table = weights[f"{name}.modulation"][0]
        per_token = np.stack([table + rows if t < num_target else table for t in range(len(tokens))])
        shift1, scale1, gate1, shift2, scale2, gate2 = per_token.transpose(1, 0, 2)
        x = layer_norm(tokens, eps) * (1 + scale1) + shift1
        tokens = tokens + gate1 * attend(weights, f"{name}.self_attn", x, x, config.num_heads, eps, places)
        x = layer_norm(tokens, eps) * weights[f"{name}.norm3.weight"] + weights[f"{name}.norm3.bias"]
        tokens = tokens + attend(weights, f"{name}.cross_attn", x, context, config.num_heads, eps)
        x = layer_norm(tokens, eps) * (1 + scale2) + shift2
        tokens = tokens + gate2 * linear(gelu_tanh(linear(x, weights, f"{name}.ffn.0")), weights, f"{name}.ffn.2")

    shift, scale = weights["head.modulation"][0] + time
    out = linear(layer_norm(tokens[:num_target], eps) * (1 + scale) + shift, weights, "head.head")
    velocity = np.zeros((config.out_channels, frames, height, width))
    for token, (f, y, x) in zip(out, positions(frames, height, width), strict=True):
        velocity[:, f, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2] = token.reshape(2, 2, -1).transpose(2, 0, 1)
    return velocity
