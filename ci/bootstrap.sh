#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# ci/bootstrap.sh TASK [ARGS...]: install what is missing, run `inv TASK ARGS`, exit with its code;
# without words, list the tasks.
#
# Needs git, Python 3.11 or newer, and Debian 12 or 13 or Ubuntu 24.04 (elsewhere: the tools
# installed by hand). Distribution packages are the only thing that wants root; Python packages go
# to .venv, in pinned versions. Names of files mean what they mean where this is called. Everything
# that keeps the task from starting ends with exit code 3: we could not find out.
set -eu

say() {
	echo "bootstrap: $*" >&2
}

give_up() {
	say "$*"
	exit 3
}

# The user's own Python and pip must not reach into ours; only what says how pip reaches its index
# is kept.
unset CDPATH PYTHONHOME PYTHONOPTIMIZE PYTHONPATH PYTHONSTARTUP PYTHONUSERBASE PYTHONWARNINGS
for name in $(env | sed -n 's/^\(PIP_[A-Z_]*\)=.*/\1/p'); do
	case ${name#PIP_} in
	*CERT | *INDEX | *INDEX_URL | *TIMEOUT | CACHE_DIR | CONFIG_FILE | FIND_LINKS) ;;
	NO_CACHE_DIR | PROXY | RETRIES | TRUSTED_HOST) ;;
	*) unset "$name" ;;
	esac
done

root=$(cd "$(dirname "$0")/.." && pwd) || give_up "cannot enter the checkout"
venv=$root/.venv
[ $# -gt 0 ] || set -- --list

# The tools of the tests are for those who change this project.
also=
for word; do
	case $word in
	check | test) also=-test ;;
	esac
done

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
done <<EOF
$(cat "$root/ci/packages.txt" ${also:+"$root/ci/packages$also.txt"})
EOF
if [ -n "$python" ] && [ ! -x "$venv/bin/python" ]; then
	"$python" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
fi
[ -n "$python" ] || missing="$missing python3 python3-venv"

log=
# What programs say where there is no network.
no_network='temporary failure|name resolution|not (resolve|connect)|(network is|host) unreachable'
no_network="$no_network|establish a new connection|connection (refused|timed out)"
# TOOL COMMAND...: run it and show nothing; where it fails, say so with its last lines, or with one
# where the network is why.
quietly() {
	tool=$1
	shift
	log=$(mktemp) || give_up "cannot write to ${TMPDIR:-/tmp}"
	if "$@" >"$log" 2>&1; then
		rm -f "$log"
	elif grep -qiE "$no_network" "$log"; then
		give_up "$tool cannot reach its server: no network, or a proxy that" \
			"http_proxy and https_proxy have to name (log: $log)"
	else
		tail -n 20 "$log" >&2
		give_up "$tool failed (log: $log)"
	fi
}

if [ -n "$missing" ]; then
	command -v apt-get >/dev/null 2>&1 ||
		give_up "these are missing, and there is no apt-get to install them:$missing"
	sudo=
	[ "$(id -u)" = 0 ] || sudo=sudo
	[ -z "$sudo" ] || command -v sudo >/dev/null 2>&1 ||
		give_up "install these as root first:$missing"
	say "installing with ${sudo:+sudo }apt-get:$missing"
	# shellcheck disable=SC2086 # package names, one word each; SC2016: $@ is the inner shell's
	# shellcheck disable=SC2016
	quietly apt-get sh -c '"$@" update && "$@" install -y --no-install-recommends '"$missing" \
		sh \
		$sudo env DEBIAN_FRONTEND=noninteractive apt-get
fi

[ -n "$python" ] || python=python3
# LIST: what .venv holds where the list is installed; a venv belongs to its path and to one version
# of Python.
stamp() {
	{ echo "$root" && "$python" -V && cat "$root/ci/$1.txt"; } | sha256sum
}

# LIST: install it into .venv, unless it is there.
packages() {
	wanted=$(stamp "$1")
	[ "$(cat "$venv/$1" 2>/dev/null)" != "$wanted" ] || return 0
	say "installing Python packages into .venv ($1)"
	[ "$1" != requirements ] || quietly "python -m venv" "$python" -m venv --clear "$venv"
	quietly pip "$venv/bin/python" -m pip install --no-user --quiet \
		--disable-pip-version-check --require-hashes -r "$root/ci/$1.txt"
	echo "$wanted" >"$venv/$1" || give_up "cannot write to $venv"
}

[ -x "$venv/bin/python" ] || rm -f "$venv/requirements"
packages requirements
[ -z "$also" ] || packages "requirements$also"

PATH=$venv/bin:$PATH exec "$venv/bin/inv" --search-root "$root" "$@"
