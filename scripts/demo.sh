#!/usr/bin/env bash
# The main job, from nothing:
#
#   bash scripts/demo.sh                          a sample video, three questions with known answers
#   bash scripts/demo.sh VIDEO "question" ...     a video and questions of your own
#   bash scripts/demo.sh VIDEO "question" --model FOLDER     other weights than the bundled ones
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# What is wrong at first sight is said before an installation of minutes.
case "${1:-}" in
    -h | --help)
        sed -n '2,/^set /{s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
        exit
        ;;
    "" | -* | *://*) ;;
    *)
        [ -e "$1" ] || litakit_fail "no such video: $1"
        [ $# -ge 2 ] || litakit_fail "expected a question about $1, got none: bash scripts/demo.sh VIDEO \"question\""
        ;;
esac
litakit_environment
exec "$LITAKIT_ROOT/.venv/bin/litakit" demo --out "$LITAKIT_ROOT/demo_output" "$@"
