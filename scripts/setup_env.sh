#!/usr/bin/env bash
# Makes .venv if there is none and installs requirements files into it:
#     source scripts/setup_env.sh requirements.txt [tests/requirements.txt ...]
# Sets PYTHON to its interpreter. A stamp remembers what is installed, so a second run does nothing.
# The environment variable VENV names another folder.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="${VENV:-$ROOT/.venv}"
export PIP_DISABLE_PIP_VERSION_CHECK=1

fail() {
    echo "error: $*" >&2
    exit 2
}

find_python() {
    local candidate
    for candidate in python3 python3.12 python3.11 python3.13 python3.10; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.10 to 3.13 found: install one of them."
}

make_venv() {
    local python
    python="$(find_python)" || exit 2
    echo "Making $VENV with $("$python" --version)"
    if ! "$python" -m venv "$VENV"; then
        rm -rf "$VENV"
        fail "'$python -m venv' failed: on Debian and Ubuntu, install the package python3-venv."
    fi
}

install_requirements() {
    local file stamp wanted
    for file in "$@"; do
        stamp="$VENV/.installed-$(echo "$file" | tr '/' '-')"
        wanted="$("$PYTHON" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$ROOT/$file")"
        [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && continue
        echo "Installing $file (minutes, the first time)"
        "$PYTHON" -m pip install --quiet -r "$ROOT/$file" || fail "installing $file failed, see above."
        echo "$wanted" >"$stamp"
    done
}

# On a machine of continuous integration only; a test that finds no browser is skipped.
install_browser() {
    local name
    for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable chrome; do
        [ -z "$name" ] || ! command -v "$name" >/dev/null || return 0
    done
    [ -n "${CI:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
    echo "Installing chromium"
    { apt-get update && apt-get install --yes --no-install-recommends chromium; } >/dev/null 2>&1 ||
        echo "warning: chromium could not be installed: the test of the report's page is skipped." >&2
}

[ -e "$VENV/bin/python" ] || make_venv
PYTHON="$VENV/bin/python"
"$PYTHON" -m pip --version >/dev/null 2>&1 || "$PYTHON" -m ensurepip >/dev/null ||
    fail "$VENV has no pip: remove the folder and run this again."
install_requirements "$@"
