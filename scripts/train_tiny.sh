#!/usr/bin/env bash
# litakit-tiny from nothing: bash scripts/train_tiny.sh [WORK_FOLDER [MODEL_FOLDER]]
#
# One run from nothing took 56 minutes on two cores. Seeded; interrupted, it goes on where it was when started again.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
litakit_environment
# glibc gives large blocks back to the system at once and takes them anew in every step, which took more than
# half of the time in page faults: let it keep them.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456
work="${1:-$LITAKIT_ROOT/runs/tiny}"
exec "$LITAKIT_ROOT/.venv/bin/python" -m litakit.training.tiny "$work" "${2:-$work/model}"
