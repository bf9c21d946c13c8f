#!/usr/bin/env bash
# The main job, from nothing: bash scripts/demo.sh [VIDEO QUESTION...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
litakit_environment
exec "$LITAKIT_ROOT/.venv/bin/litakit" demo --out "$LITAKIT_ROOT/demo_output" "$@"
