#!/usr/bin/env bash
# Every check and every test: bash scripts/test.sh [arguments for pytest]
#
# LITAKIT_STRICT=1 fails on any skipped test but one that needs a GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh
litakit_environment dev,quant,scale
export PATH="$LITAKIT_ROOT/.venv/bin:$PATH"

# What pip cannot install. A test that needs one that is missing is skipped, and counted at the end.
missing() { ! command -v "$1" >/dev/null; }
missing chromium && missing chromium-browser && missing google-chrome &&
    echo "Chromium is missing: the browser tests will be skipped (Debian: apt-get install chromium)"
missing node && echo "Node is missing: tests of JavaScript will be skipped (Debian: apt-get install nodejs)"
missing java && echo "Java is missing: tests of caption metrics will be skipped (Debian: apt-get install default-jre-headless)"
missing c++ && missing g++ && missing clang++ &&
    echo "A C++ compiler is missing: tests that build will be skipped (Debian: apt-get install g++)"

failed=()
check() {
    echo "== $*"
    "$@" || failed+=("$1${2:+ $2}")
}
check ruff check .
check ruff format --check .
check mypy
check lint-imports
check pytest "$@"

if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
echo "All checks passed."
