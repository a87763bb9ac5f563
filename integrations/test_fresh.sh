#!/usr/bin/env bash
# Install each package, and zprompt from this clone, into a fresh environment, and run its tests and mypy there.
#
#   integrations/test_fresh.sh                   both packages
#   integrations/test_fresh.sh langchain         one of them
#   FRESH=/tmp/fresh integrations/test_fresh.sh  where the environments are made; the default is build/fresh
#   UV=uv integrations/test_fresh.sh             with uv in the place of pip, which takes less time
#
# Nothing of the clone's own .venv is used. What is tested is what was installed, and not the files beside the tests.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
FRESH=${FRESH:-build/fresh}
mkdir -p "$FRESH"
FRESH=$(cd "$FRESH" && pwd)

install() {
    if [ -n "${UV:-}" ]; then
        # Copies: nltk, which LlamaIndex uses, refuses to read files with several links.
        "$UV" pip install --quiet --link-mode copy --python "$bin/python" "$@"
    else
        "$bin/python" -m pip install --quiet "$@"
    fi
}

[ $# -gt 0 ] || set -- langchain llama_index

for package in "$@"; do
    echo "== $package"
    bin=$FRESH/$package/bin
    rm -rf "${FRESH:?}/$package"
    "$PYTHON" -m venv "$FRESH/$package"
    # torch first and by its exact version, as in the Makefile: a range would take a CUDA build.
    install torch==2.13.0
    install .
    install "integrations/$package[dev]"
    "$bin/python" -m pip check
    cd "integrations/$package"
    "$bin/pytest" -q -p no:cacheprovider -o pythonpath="tests ../testing"
    "$bin/mypy" --strict
    cd ../..
done
