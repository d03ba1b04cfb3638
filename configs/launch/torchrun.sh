#!/usr/bin/env bash
# Trains on the GPUs of one machine, or of several on each of which it is started.
#
#   configs/launch/torchrun.sh --config configs/training/stage2.yaml [more arguments of loom_core.cli.train]
#
# GPUS=4           processes on this machine, one a GPU (default: all GPUs)
# NODES=2          machines; start this on each of them, with the same arguments
# HOST=first:29500 where they meet: name or address of the first machine, and a port that is free there
# MODULE=loom_core.cli.rl  trains by RL (default: loom_core.cli.train)
# DRY_RUN=1        print the memory that each of 1 to 64 GPUs needs, and the command, without running it
#
# A run that was stopped goes on when the same command is given again, with any number of GPUs. SIGTERM saves first,
# for which the processes are given GRACE seconds.
set -euo pipefail

PYTHON=${PYTHON:-python}
MODULE=${MODULE:-loom_core.cli.train}
NODES=${NODES:-1}
GRACE=${GRACE:-600}
GPUS=${GPUS:-$({ nvidia-smi --list-gpus 2>/dev/null || true; } | wc -l)}
if [ "$GPUS" -lt 1 ]; then GPUS=1; fi

if [ "$NODES" -gt 1 ]; then
  if [ -z "${HOST:-}" ]; then
    echo "error: found NODES=$NODES without HOST; expected where the machines meet; to fix: HOST=name-of-the-first:29500" >&2
    exit 2
  fi
  MEETING=(--nnodes "$NODES" --rdzv-backend c10d --rdzv-endpoint "$HOST" --rdzv-id "${RUN_ID:-loom}")
else
  MEETING=(--standalone)
fi
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=$GRACE

# "--" since torchrun takes options such as --run for shortened ones of its own otherwise
COMMAND=("$PYTHON" -m torch.distributed.run "${MEETING[@]}" --nproc-per-node "$GPUS" -m -- "$MODULE" "$@")
if [ -n "${DRY_RUN:-}" ]; then
  "$PYTHON" -m "$MODULE" --memory "$@"
  echo "command: ${COMMAND[*]}"
  exit 0
fi
exec "${COMMAND[@]}"
