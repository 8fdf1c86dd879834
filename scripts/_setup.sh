# Sourced by the other scripts: makes .venv with the pinned versions, once; quick when nothing changed.
# Usage: set_up [extra,extra]

set_up() {
    local extras="$1" stamp want
    stamp=".venv/.installed-$extras"
    want="$(cat pyproject.toml constraints.txt | sha256sum)"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
        return
    fi
    if [ ! -x .venv/bin/python ]; then
        local python
        python="$(find_python)"
        echo "Making .venv with $("$python" --version)" >&2
        "$python" -m venv .venv
    fi
    echo "Installing the pinned versions (a minute or two)" >&2
    .venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
        --constraint constraints.txt --editable ".[$extras]"
    # pip would compile on one core; what no Python can compile (templates) is left as it is
    .venv/bin/python -m compileall -q -j 0 -x '/tests?/' .venv/lib >/dev/null 2>&1 || true
    echo "$want" >"$stamp"
}

# What the examples build on, in a folder of its own: it asks for another torch than the pinned one.
set_up_vision() {
    local folder=.venv/vision want
    want="$(sha256sum <scripts/vision.txt)"
    if [ -f "$folder/.installed" ] && [ "$(cat "$folder/.installed")" = "$want" ]; then
        return
    fi
    rm -rf "$folder"
    if .venv/bin/python -m pip install --quiet --no-deps --no-compile --disable-pip-version-check \
        --target "$folder" --requirement scripts/vision.txt; then
        echo "$want" >"$folder/.installed"
    else
        echo "torchvision and timm could not be installed: the tests of their examples will be skipped" >&2
    fi
}

# The browser that the tests of the page use, where it can be installed.
set_up_chromium() {
    if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "Installing Chromium for the tests of the report" >&2
        { apt-get update -qq && apt-get install -y -qq chromium chromium-driver; } >/dev/null 2>&1 ||
            echo "Chromium could not be installed: the tests of the page will be skipped" >&2
    fi
}

find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11 python; do
        if command -v "$name" >/dev/null &&
            "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "cpmodel needs Python 3.11 or newer; none found on the PATH" >&2
    exit 2
}
