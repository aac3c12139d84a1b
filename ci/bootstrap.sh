#!/bin/sh
# ci/bootstrap.sh TASK [ARGS...]: install what is missing, run `inv TASK ARGS`, exit with its code.
#
# Needs git, Python 3.11 or newer, and Debian 12 or 13 or Ubuntu 24.04 (elsewhere: the tools installed by hand).
# Distribution packages are the only thing that wants root; Python packages go to .venv, in pinned versions.
# Everything that keeps the task from starting ends with exit code 3: we could not find out.
set -eu

cd "$(dirname "$0")/.."

say() {
	echo "bootstrap: $*" >&2
}

give_up() {
	say "$*"
	exit 3
}

python=
for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
	if command -v "$candidate" >/dev/null 2>&1 &&
		"$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
		python=$candidate
		break
	fi
done

# file or program that shows that it is there : package
missing=
while read -r sign package; do
	case $sign in
	/*) [ -e "$sign" ] || missing="$missing $package" ;;
	*) command -v "$sign" >/dev/null 2>&1 || missing="$missing $package" ;;
	esac
done <ci/packages.txt
if [ -n "$python" ] && [ ! -x .venv/bin/python ]; then
	"$python" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
fi
[ -n "$python" ] || missing="$missing python3 python3-venv"

if [ -n "$missing" ]; then
	command -v apt-get >/dev/null 2>&1 || give_up "these are missing, and there is no apt-get to install them:$missing"
	root=
	[ "$(id -u)" = 0 ] || root=sudo
	[ -z "$root" ] || command -v sudo >/dev/null 2>&1 || give_up "install these as root first:$missing"
	say "installing with ${root:+sudo }apt-get:$missing"
	log=$(mktemp)
	# shellcheck disable=SC2086 # package names, one word each
	if ! { $root apt-get update && $root env DEBIAN_FRONTEND=noninteractive apt-get install -y \
		--no-install-recommends $missing; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		give_up "apt-get failed; the whole log is $log"
	fi
	rm -f "$log"
fi

[ -n "$python" ] || python=python3
wanted=$(cat ci/requirements.txt pyproject.toml | sha256sum)
if [ "$(cat .venv/wanted 2>/dev/null)" != "$wanted" ]; then
	say "installing Python packages into .venv"
	"$python" -m venv --clear .venv >&2 || give_up "python -m venv failed"
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r ci/requirements.txt >&2 ||
		give_up "pip failed"
	echo "$wanted" >.venv/wanted
fi

PATH=$PWD/.venv/bin:$PATH exec .venv/bin/inv "$@"
