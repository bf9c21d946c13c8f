# Sourced by the other scripts: makes .venv with litakit in it, once, and again when its dependencies change.
#
#   source scripts/environment.sh
#   litakit_environment            # what litakit needs
#   litakit_environment dev,quant  # and these extras
#
# Afterwards the programs are in $LITAKIT_ROOT/.venv/bin. LITAKIT_PYTHON names the Python to make it with.

LITAKIT_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"

litakit_fail() {
    printf 'litakit: %s\n' "$*" >&2
    exit 2
}

litakit_is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

litakit_find_python() {
    local candidate candidates=(python3.11 python3.12 python3.13 python3 python)
    [ -z "${LITAKIT_PYTHON:-}" ] || candidates=("$LITAKIT_PYTHON")
    for candidate in "${candidates[@]}"; do
        if command -v "$candidate" >/dev/null && litakit_is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    litakit_fail "needs Python 3.11 or newer, found $("${LITAKIT_PYTHON:-python3}" --version 2>&1 || true)." \
        "Install one (Debian: apt-get install python3 python3-venv), or name one: LITAKIT_PYTHON=/path/to/python3.11"
}

# A .venv that is not whole, because its making was interrupted, is made again over what is there.
litakit_make_venv() {
    local venv="$LITAKIT_ROOT/.venv" python fresh=no
    litakit_is_new_enough "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1 && return
    python="$(litakit_find_python)" || exit 2
    [ -e "$venv" ] || fresh=yes
    echo "Making .venv with $("$python" --version)"
    if ! "$python" -m venv "$venv"; then
        [ $fresh = no ] || rm -rf "$venv" # made by us a moment ago
        litakit_fail "$python cannot make virtual environments (Debian: apt-get install python3-venv)."
    fi
    litakit_is_new_enough "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1 ||
        litakit_fail "$venv has no working Python of 3.11 or newer with pip: remove that folder and start again."
}

# Say, before gigabytes are fetched, which build of torch pip is about to take: asked for a version, it takes
# the one with a local label (+cpu, +cu130) where a package index or folder of its settings offers one.
litakit_announce_torch() {
    local python="$LITAKIT_ROOT/.venv/bin/python" version="${1#torch==}" offered
    "$python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)' && return
    offered="$("$python" -m pip index versions torch --disable-pip-version-check 2>/dev/null |
        grep -oE "(^|[ ,])${version//./\\.}(\+[a-z0-9.]+)?(,|$)" | tr -d ' ,' | sort -r | head -n 1)" || true
    case "$offered$(uname -s)" in
        *+cpu* | *Darwin) echo "torch ${offered:-$version}: pip takes the build without CUDA." ;;
        *)
            echo "torch ${offered:-$version}: pip takes the CUDA build, some gigabytes with its libraries. Where there is no"
            echo "NVIDIA GPU, stop here (Ctrl-C), install the build without CUDA, and start again:"
            echo "  .venv/bin/python -m pip install $1 --index-url https://download.pytorch.org/whl/cpu"
            ;;
    esac
}

litakit_environment() {
    local extras="${1:-}" venv="$LITAKIT_ROOT/.venv" wanted stamps torch
    # The folder that .venv was made in, then a line for each finished installation: the hash of what was asked
    # for, and the extras.
    stamps="$venv/litakit-installed"
    if [ -f "$stamps" ] && [ "$(head -n 1 "$stamps")" != "$LITAKIT_ROOT" ]; then
        echo "This folder was moved or copied, and programs in a .venv do not move along: it is made anew."
        rm -rf "$venv"
    fi
    wanted="$(cat "$LITAKIT_ROOT/pyproject.toml" "$LITAKIT_ROOT/constraints.txt" | cksum | tr ' ' -)"
    if [ -f "$stamps" ] && litakit_is_new_enough "$venv/bin/python"; then
        grep -qxF "$wanted $extras" "$stamps" && return
        [ -z "$extras" ] && grep -q "^$wanted " "$stamps" && return
    fi
    litakit_make_venv
    torch="$(grep '^torch==' "$LITAKIT_ROOT/constraints.txt")"
    litakit_announce_torch "$torch"
    echo "Installing litakit${extras:+ with $extras} into .venv (once; minutes)"
    local install=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check
        --no-warn-script-location -c "$LITAKIT_ROOT/constraints.txt")
    # torch by its version first: pip then takes a CPU build of that version wherever it is offered one.
    "${install[@]}" "$torch" && "${install[@]}" -e "$LITAKIT_ROOT${extras:+[$extras]}" ||
        litakit_fail "pip could not install litakit; its message is above."
    grep -q "^$wanted " "$stamps" 2>/dev/null || echo "$LITAKIT_ROOT" >"$stamps"
    echo "$wanted $extras" >>"$stamps"
}
