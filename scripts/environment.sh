# Sourced by demo.sh and test.sh: makes .venv with litakit in it, once, and again when its dependencies change.
#
#   source scripts/environment.sh
#   litakit_environment            # what litakit needs
#   litakit_environment dev,quant  # and these extras
#
# Afterwards the programs are in $LITAKIT_ROOT/.venv/bin. LITAKIT_PYTHON names the Python to make it with.

LITAKIT_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

litakit_fail() {
    printf 'litakit: %s\n' "$*" >&2
    exit 2
}

litakit_is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

litakit_find_python() {
    local candidate
    for candidate in ${LITAKIT_PYTHON:-python3.11 python3.12 python3.13 python3 python}; do
        if command -v "$candidate" >/dev/null && litakit_is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    litakit_fail "needs Python 3.11 or newer, found $(python3 --version 2>&1 || true)." \
        "Install one (Debian: apt-get install python3 python3-venv), or name one: LITAKIT_PYTHON=/path/to/python3.11"
}

litakit_make_venv() {
    local venv="$LITAKIT_ROOT/.venv" python
    if [ -e "$venv" ]; then
        litakit_is_new_enough "$venv/bin/python" && [ -x "$venv/bin/pip" ] ||
            litakit_fail "$venv has no working Python of 3.11 or newer with pip: remove that folder and start again."
        return
    fi
    python="$(litakit_find_python)" || exit 2
    echo "Making .venv with $("$python" --version)"
    "$python" -m venv "$venv" || {
        rm -rf "$venv" # made by us a moment ago
        litakit_fail "$python cannot make virtual environments (Debian: apt-get install python3-venv)."
    }
}

# Say, before gigabytes are fetched, which build of torch pip is about to take.
litakit_announce_torch() {
    local pip="$LITAKIT_ROOT/.venv/bin/pip" python="$LITAKIT_ROOT/.venv/bin/python" report
    "$python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)' && return
    report="$(mktemp)"
    if "$pip" install --quiet --disable-pip-version-check --dry-run --no-deps --report "$report" "$1" 2>/dev/null; then
        "$python" - "$report" <<'PYTHON'
import json, sys
for item in json.load(open(sys.argv[1], encoding="utf-8"))["install"]:
    needs = " ".join(item["metadata"].get("requires_dist", []))
    version = item["metadata"]["version"]
    if "+cpu" in version or not ("nvidia" in needs or "cuda" in needs) or sys.platform != "linux":
        print(f"torch {version}: pip takes the build without CUDA.")
    else:
        print(f"torch {version}: pip takes the CUDA build, some gigabytes with its libraries. Where there is no NVIDIA")
        print("GPU, stop here (Ctrl-C), install a CPU build into .venv as pytorch.org tells, and start again.")
PYTHON
    else
        echo "torch: which build pip will take cannot be told beforehand; the CUDA build is some gigabytes."
    fi
    rm -f "$report"
}

litakit_environment() {
    local extras="${1:-}" venv="$LITAKIT_ROOT/.venv" wanted stamps torch
    litakit_make_venv
    wanted="$(cat "$LITAKIT_ROOT/pyproject.toml" "$LITAKIT_ROOT/constraints.txt" |
        "$venv/bin/python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')"
    # One line a finished installation: the hash of what was asked for, and the extras.
    stamps="$venv/litakit-installed"
    if [ -f "$stamps" ]; then
        grep -qxF "$wanted $extras" "$stamps" && return
        [ -z "$extras" ] && grep -q "^$wanted " "$stamps" && return
    fi
    torch="$(grep '^torch==' "$LITAKIT_ROOT/constraints.txt")"
    litakit_announce_torch "$torch"
    echo "Installing litakit${extras:+ with $extras} into .venv (once; minutes)"
    local options=(--quiet --disable-pip-version-check --no-warn-script-location -c "$LITAKIT_ROOT/constraints.txt")
    # torch by its version first: pip then takes a CPU build of that version wherever it is offered one.
    "$venv/bin/pip" install "${options[@]}" "$torch" &&
        "$venv/bin/pip" install "${options[@]}" -e "$LITAKIT_ROOT${extras:+[$extras]}" ||
        litakit_fail "pip could not install litakit; its message is above."
    [ -f "$stamps" ] && grep -q "^$wanted " "$stamps" || : >"$stamps"
    echo "$wanted $extras" >>"$stamps"
}
